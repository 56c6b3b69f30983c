"""What every call cost: the tracker and its table, prices and bills, ceilings, quota, the store."""

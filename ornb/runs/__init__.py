"""Runs of many calls: `ornb.batch` and its parts, `ornb.measure`, and what timings say."""

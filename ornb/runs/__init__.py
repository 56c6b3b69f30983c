"""The parts of `ornb.batch`: rows in, calls out, answers kept, a table back."""

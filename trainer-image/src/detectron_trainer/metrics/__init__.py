"""The numbers that a run tells: their names, their bounds, and the writers that carry them."""

"""Evaluation on the test datasets, by all ranks together."""

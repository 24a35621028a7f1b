"""Datasets, and the batches that the training loop takes from them."""

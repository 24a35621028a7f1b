"""The progress document: what a run says of itself."""

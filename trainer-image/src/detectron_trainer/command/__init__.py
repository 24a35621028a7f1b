"""The command line: `detectron-trainer run` and `check`."""

"""Pages that are written from what they tell of: `python -m reference`."""

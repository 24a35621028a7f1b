"""What a run saves, and how the next life goes on from it."""

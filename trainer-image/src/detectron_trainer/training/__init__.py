"""A life of a job on one rank: the product's own loop, or the user's under its eyes."""

"""The test layers; `tests.cluster` also holds the machinery that the other layers start their API server with."""

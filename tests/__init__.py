"""The test layers. `tests.cluster` is also the machinery that other layers start their API server with."""

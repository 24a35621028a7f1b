"""The test layers. `tests.cluster` holds the machinery, too, that other layers start their API server with."""

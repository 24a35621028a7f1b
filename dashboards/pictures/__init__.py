"""Pictures of the boards for the docs, drawn from what a Prometheus answered to their queries."""

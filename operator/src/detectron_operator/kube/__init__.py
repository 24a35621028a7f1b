"""What the operator asks of the Kubernetes API, in plain objects and typed errors."""

"""What the paper says of metrics, which replicas it speaks of, and the verdict of these on it."""

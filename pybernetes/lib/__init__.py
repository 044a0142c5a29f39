"""The domain-free kit: clock, work queue, broadcast, supervised tasks. Knows nothing of Kubernetes."""

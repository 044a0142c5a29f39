"""The node's agent: pod workers, probes, volumes, and the container runtime's client."""

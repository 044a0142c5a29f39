"""Node IPAM: a pod address range of its own for every node."""

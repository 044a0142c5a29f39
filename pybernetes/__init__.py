"""Pybernetes: Kubernetes, in Python."""

__version__ = "0.1.0"

#: The Kubernetes minor version whose API this package serves.
KUBERNETES_VERSION = "v1.37.0"

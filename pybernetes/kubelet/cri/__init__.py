"""The Container Runtime Interface: `CRIRuntime` is the kubelet's container runtime over CRI v1. The only gRPC user
of the kubelet."""

from pybernetes.kubelet.cri.client import CRIRuntime

__all__ = ["CRIRuntime"]

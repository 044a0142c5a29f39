"""Taint eviction: pods leave nodes with NoExecute taints when they tolerate them no longer."""

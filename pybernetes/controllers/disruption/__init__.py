"""Disruption: how many pods of a PodDisruptionBudget may be evicted now."""

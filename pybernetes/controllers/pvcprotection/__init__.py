"""Claim protection: a PersistentVolumeClaim that a pod uses does not go."""

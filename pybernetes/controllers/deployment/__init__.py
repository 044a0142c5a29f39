"""Deployment: ReplicaSets by template, and the roll from one to the next."""

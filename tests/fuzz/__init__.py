"""Fuzzing the API server: a process of its own, whose answers, memory and descriptors are watched."""

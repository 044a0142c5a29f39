"""Cluster DNS: records from informers, answered on every node."""

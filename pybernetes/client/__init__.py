"""Transports, informers, leases and event recording, for every component."""

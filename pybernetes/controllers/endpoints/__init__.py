"""Endpoints: the older core/v1 form of what EndpointSlices say, for clients that still read it."""

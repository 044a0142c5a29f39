"""EndpointSlice mirroring: slices from Endpoints that somebody writes for a Service without a selector."""

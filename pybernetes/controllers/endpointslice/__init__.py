"""EndpointSlice: the addresses behind each Service, in slices."""

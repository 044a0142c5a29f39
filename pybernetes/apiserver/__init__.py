"""The API server: HTTP, pipeline, registry of kinds, watch cache."""

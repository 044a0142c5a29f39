"""Root CA: the ConfigMap in every namespace by which pods know the API server."""

"""Pod garbage collection: pods that nobody else will ever clean up."""

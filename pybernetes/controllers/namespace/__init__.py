"""Namespaces: emptied, then let go."""

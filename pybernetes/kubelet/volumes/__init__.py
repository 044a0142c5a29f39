"""Volumes of pods: plugins behind one interface, and the manager that sets them up and tears them down."""

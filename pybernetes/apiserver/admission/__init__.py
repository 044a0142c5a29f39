"""Admission plugins, one module each, and their order (`registry`)."""

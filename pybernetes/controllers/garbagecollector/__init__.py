"""Garbage collection: objects go when their owners are gone, in the foreground, the background, or not at all."""

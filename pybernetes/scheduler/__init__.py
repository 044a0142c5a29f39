"""The scheduler: a plugin framework, pure decisions, effects apart."""

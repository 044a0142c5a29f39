"""What can go wrong with an expression, on one page."""

from __future__ import annotations


class CompilationError(Exception):
    """The text is no expression of the wanted type; the message is as upstream's ``compilation failed: ...``."""


class EvaluationError(Exception):
    """The expression has no value for this input; the message is in the words of upstream's runtime."""

"""CEL expressions of configurations: over a token's claims (``claims``), over the user that they make (``user``), over
what an authorizer is asked (``request``, a SubjectAccessReviewSpec).

Compiled once, when the configuration is read; by the official runtime, which is loaded with the first expression.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

Variable = Literal["claims", "user", "request"]
Result = Literal["string", "strings", "bool"]

_EXTENSIONS = ("bindings", "encoders", "lists", "math", "optional", "sets", "strings", "two-var-comprehensions")
_RESULTS = {
    "string": ("STRING", "DYN"),
    "strings": ("STRING", "LIST", "DYN", "NULL"),
    "bool": ("BOOL", "DYN"),
}
_WANTED = {
    "string": "must evaluate to string",
    "strings": "must evaluate to string or list",
    "bool": "must evaluate to bool",
}


class ExpressionError(ValueError):
    """An expression does not compile, or cannot be evaluated for a token."""


@lru_cache(maxsize=3)
def _environment(variable: Variable) -> Any:
    # Loading the runtime maps 14 MB of machine code: not before there is something to compile.
    from cel_expr_python import cel

    extensions = "".join(f"  - name: {name}\n" for name in _EXTENSIONS)
    config = cel.NewEnvConfigFromYaml(f"name: kubernetes\nextensions:\n{extensions}")
    return cel.NewEnv(variables={variable: cel.Type.DYN}, config=config)


class Expression:
    """One expression. Raises `ExpressionError` where it does not compile, or cannot have the wanted result."""

    def __init__(self, text: str, variable: Variable, result: Result) -> None:
        self.text = text
        self._variable = variable
        self._result = result
        try:
            self._compiled = _environment(variable).compile(text)
        except RuntimeError as error:
            raise ExpressionError(f"compilation failed: {_plain(str(error))}") from error
        made = str(self._compiled.return_type().name()).partition("<")[0].upper()
        if made not in _RESULTS[result]:
            raise ExpressionError(_WANTED[result])

    def evaluate(self, value: Mapping[str, Any]) -> Any:
        """The result: a text, a list of texts without the empty ones, or a bool. Raises `ExpressionError`."""
        try:
            found = self._compiled.eval(data={self._variable: value})
            if found.type().name() == "ERROR":
                raise ExpressionError(f"expression '{self.text}' resulted in error: {_plain(str(found.value()))}")
            return self._checked(_python(found))
        except (RuntimeError, TypeError) as error:
            raise ExpressionError(f"expression '{self.text}' resulted in error: {_plain(str(error))}") from error

    def _checked(self, value: Any) -> Any:
        if self._result == "bool" and not isinstance(value, bool):
            raise ExpressionError(f"expression '{self.text}' must return a bool")
        if self._result == "string" and not isinstance(value, str):
            raise ExpressionError(f"expression '{self.text}' must return a string")
        if self._result != "strings":
            return value
        texts = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            raise ExpressionError("expression must return a string or a list of strings")
        return [t for t in texts if t]


def _python(found: Any) -> Any:
    value = found.value() if hasattr(found, "type") else found
    return [_python(inner) for inner in value] if isinstance(value, list) else value


def _plain(message: str) -> str:
    """The runtime's message without the code that it carries at both ends."""
    return message.removeprefix("INVALID_ARGUMENT: ").partition(" [INVALID_ARGUMENT]")[0].removeprefix("NOT_FOUND: ")

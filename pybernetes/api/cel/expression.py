"""Expressions as they are configured, and what they are evaluated with. Light: nothing of the runtime is loaded before
`Expression.compile` (see `program`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pybernetes.api.cel.errors import CompilationError, EvaluationError
from pybernetes.api.meta import Object

if TYPE_CHECKING:
    from pybernetes.api.cel.environment import Environment
    from pybernetes.api.cel.program import Program

_NO_VARIABLES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which variables an expression may name, besides ``object``, ``oldObject``, ``request``, ``namespaceObject``."""

    params: bool = False
    authorizer: bool = False


MATCH_CONDITION = Scope(authorizer=True)


@dataclass(frozen=True, slots=True)
class Check:
    """What an expression asks the authorizer. A `user` that is not empty stands in for the requesting one (a service
    account)."""

    verb: str
    user: str = ""
    groups: tuple[str, ...] = ()
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


Authorize = Callable[[Check], tuple[bool, str]]
"""(whether it is allowed, why)."""

ANY = ""
BOOL = "bool"
STRING = "string"
OBJECT = "Object"
JSON_PATCHES = "list(JSONPatch)"
STRING_OR_NULL = "string or null"


@dataclass(slots=True)
class Input:
    """The values of an expression's variables, for one request. Shared by all expressions that look at it."""

    object: Object | None
    old_object: Object | None
    request: Callable[[], Mapping[str, Any]]
    """Fields of an AdmissionRequest; asked for where an expression looks at it."""
    namespace_object: Object | None = None
    params: Object | None = None
    authorize: Authorize | None = None
    request_resource: Mapping[str, str] = field(default_factory=dict)
    """The check that ``authorizer.requestResource`` stands for."""
    made: dict[tuple[int, bool], Any] = field(default_factory=dict)
    """Activations, by environment and by whether they hold the request."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as it is configured: its text, what it may see, what it must give."""

    text: str
    scope: Scope
    result: str = BOOL
    variables: Mapping[str, str] = field(default_factory=lambda: _NO_VARIABLES)
    """Texts by name, in order: each sees those before it."""

    def compile(self, env: Environment | None = None) -> Program:
        """In its scope's environment or in `env`. Raises `CompilationError`."""
        from pybernetes.api.cel.program import compile_expression

        return compile_expression(self, env)


class LazyProgram:
    """Compiles at the first evaluation: a configuration that matches nothing costs nothing."""

    def __init__(self, expression: Expression) -> None:
        self.expression = expression

    @cached_property
    def _program(self) -> Program | CompilationError:
        try:
            return self.expression.compile()
        except CompilationError as error:
            return error

    def evaluate(self, values: Input) -> Any:
        """Raises `EvaluationError`, also where the text does not compile."""
        program = self._program
        if isinstance(program, CompilationError):
            raise EvaluationError(
                f"expression '{self.expression.text}' resulted in error: compilation error: {program}"
            ) from program
        return program.evaluate(values)

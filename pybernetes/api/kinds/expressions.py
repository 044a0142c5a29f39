"""Whether the CEL expressions of webhooks and policies compile.

The runtime is loaded with the first of them. What compiled once is remembered (bounded), so that updates of a long
policy do not compile it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pybernetes.api.kinds.faults import Faults

if TYPE_CHECKING:
    from pybernetes.api.cel.expression import Expression

_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    (
        "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
        "null", "package", "namespace", "return", "true", "var", "void", "while",
    )
)  # fmt: skip
_KNOWN_MAX = 1024


@lru_cache(maxsize=_KNOWN_MAX)
def _fault(text: str, scope: Any, result: str, variables: tuple[tuple[str, str], ...]) -> str:
    from pybernetes.api.cel.errors import CompilationError
    from pybernetes.api.cel.expression import Expression

    try:
        Expression(text, scope, result, dict(variables)).compile()
    except CompilationError as error:
        return str(error)
    return ""


def _check(faults: Faults, path: str, expression: Expression) -> None:
    if not expression.text.strip():
        # Said already: it is required.
        return
    fault = _fault(expression.text, expression.scope, expression.result, tuple(expression.variables.items()))
    if fault:
        faults.invalid(path, expression.text, fault)


def conditions(faults: Faults, path: str, items: Iterable[Mapping[str, Any]]) -> None:
    """A webhook's matchConditions."""
    if not items:
        return
    from pybernetes.api.cel.policies import PolicyExpressions

    one = PolicyExpressions({})
    for i, condition in enumerate(items):
        _check(faults, f"{path}[{i}].expression", one.condition(condition))


def policy(faults: Faults, spec: Mapping[str, Any]) -> None:
    """All expressions of an admission policy."""
    from pybernetes.api.cel.policies import PolicyExpressions

    one = PolicyExpressions(spec)
    for i, condition in enumerate(spec.get("matchConditions") or ()):
        _check(faults, f"spec.matchConditions[{i}].expression", one.condition(condition))
    if not _variables(faults, spec, one):
        # What uses them would be told the same once more.
        return
    for i, validation in enumerate(spec.get("validations") or ()):
        at = f"spec.validations[{i}]"
        _check(faults, f"{at}.expression", one.validation(validation))
        _check(faults, f"{at}.messageExpression", one.message(validation))
    for i, annotation in enumerate(spec.get("auditAnnotations") or ()):
        _check(faults, f"spec.auditAnnotations[{i}].valueExpression", one.annotation(annotation))
    for i, mutation in enumerate(spec.get("mutations") or ()):
        field = "applyConfiguration" if mutation.get("patchType") == "ApplyConfiguration" else "jsonPatch"
        _check(faults, f"spec.mutations[{i}].{field}.expression", one.mutation(mutation))


def _variables(faults: Faults, spec: Mapping[str, Any], one: Any) -> bool:
    """Whether the variables are in order."""
    before = len(faults)
    seen: set[str] = set()
    for i, variable in enumerate(spec.get("variables") or ()):
        at, name = f"spec.variables[{i}]", str(variable.get("name") or "")
        if not name:
            faults.required(f"{at}.name", "name is not specified")
        elif _IDENTIFIER.fullmatch(name) is None or name in _RESERVED:
            faults.invalid(f"{at}.name", name, "name is not a valid CEL identifier")
        elif name in seen:
            faults.duplicate(f"{at}.name", name)
        seen.add(name)
        if not str(variable.get("expression") or "").strip():
            faults.required(f"{at}.expression", "expression is not specified")
    if len(faults) > before:
        return False
    for i in range(len(spec.get("variables") or ())):
        _check(faults, f"spec.variables[{i}].expression", one.variable(i))
    return len(faults) == before

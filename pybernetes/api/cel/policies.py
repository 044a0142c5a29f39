"""The expressions of one admission policy: what each may see, and what it must give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pybernetes.api.cel.expression import ANY, BOOL, JSON_PATCHES, OBJECT, STRING, STRING_OR_NULL, Expression, Scope


class PolicyExpressions:
    def __init__(self, spec: Mapping[str, Any]) -> None:
        params = spec.get("paramKind") is not None
        self.scope = Scope(params=params, authorizer=True)
        self.message_scope = Scope(params=params)
        self.variables = {str(v.get("name") or ""): str(v.get("expression") or "") for v in spec.get("variables") or ()}

    def variable(self, position: int) -> Expression:
        """One of the variables, which sees those before it."""
        items = list(self.variables.items())
        return Expression(items[position][1], self.scope, ANY, dict(items[:position]))

    def condition(self, condition: Mapping[str, Any]) -> Expression:
        """Conditions are looked at before there are variables."""
        return Expression(str(condition.get("expression") or ""), self.scope)

    def validation(self, validation: Mapping[str, Any]) -> Expression:
        return Expression(str(validation.get("expression") or ""), self.scope, BOOL, self.variables)

    def message(self, validation: Mapping[str, Any]) -> Expression:
        return Expression(str(validation.get("messageExpression") or ""), self.message_scope, STRING, self.variables)

    def annotation(self, annotation: Mapping[str, Any]) -> Expression:
        text = str(annotation.get("valueExpression") or "")
        return Expression(text, self.message_scope, STRING_OR_NULL, self.variables)

    def mutation(self, mutation: Mapping[str, Any]) -> Expression:
        if mutation.get("patchType") == "ApplyConfiguration":
            text, result = (mutation.get("applyConfiguration") or {}).get("expression"), OBJECT
        else:
            text, result = (mutation.get("jsonPatch") or {}).get("expression"), JSON_PATCHES
        return Expression(str(text or ""), self.scope, result, self.variables)

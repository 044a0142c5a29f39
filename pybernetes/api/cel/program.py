"""Compiled expressions: `compile_expression` makes a `Program`, `Program.evaluate` gives the value for an `Input`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pybernetes.api.cel import source
from pybernetes.api.cel.environment import Environment, environment, mutation_environment
from pybernetes.api.cel.errors import CompilationError, EvaluationError
from pybernetes.api.cel.expression import BOOL, JSON_PATCHES, OBJECT, STRING, STRING_OR_NULL, Expression, Input, Scope
from pybernetes.api.cel.libraries.authorization import asking
from pybernetes.api.cel.values import from_json_patch, from_object

_CODE = re.compile(r"^[A-Z_]+: ")
_TRAILER = re.compile(r" \[[A-Z_]+\]$")
_MISSING_KEY = re.compile(r'Key not found in map : "?(.*?)"?$', re.DOTALL)
_INDEX = re.compile(r"Index error: index=(-?\d+) size=\d+")
_REQUEST = re.compile(r"\brequest\b")
_BUDGET = "operation cancelled: actual cost limit exceeded"

_PHRASES = (
    ("divide by zero", "division by zero"),
    ("No matching overloads found", "no such overload"),
    ("Applying SELECT to non-message type", "no such overload"),
)


class Program:
    def __init__(
        self, text: str, expression: Any, env: Environment, scope: Scope, result: str, *, sees_request: bool
    ) -> None:
        self.text = text
        self._sees_request = sees_request
        self._expression = expression
        self._environment = env
        self._scope = scope
        self._result = result

    def evaluate(self, values: Input) -> Any:
        """The value: a bool or a string (None for null), an object, a list of JSON patch operations.

        Raises `EvaluationError`: ``expression '...' resulted in error: ...``.
        """
        activation = self._activation(values)
        try:
            with asking(values.authorize):
                found = self._expression.eval(activation)
            if found.type().name() == "ERROR":
                raise EvaluationError(self._failure(found.value()))
            return self._plain(found)
        except (RuntimeError, TypeError, ValueError) as error:
            # The runtime's own failures: its budget of iterations, values that it cannot carry.
            raise EvaluationError(self._failure(str(error))) from error

    def _failure(self, message: str) -> str:
        return f"expression '{self.text}' resulted in error: {_go_words(message)}"

    def _plain(self, found: Any) -> Any:
        value = found.value()
        if self._result == OBJECT:
            return from_object(value)
        if self._result == JSON_PATCHES:
            return [from_json_patch(_unwrapped(item), self._environment.types) for item in value]
        return value

    def _activation(self, values: Input) -> Any:
        key = (id(self._environment), self._sees_request)
        activation = values.made.get(key)
        if activation is None:
            types, scope = self._environment.types, self._scope
            data: dict[str, Any] = {
                "object": values.object,
                "oldObject": values.old_object,
                "namespaceObject": values.namespace_object,
            }
            if self._sees_request:
                data["request"] = _request_message(types, values.request())
            if scope.params:
                data["params"] = values.params
            if scope.authorizer:
                data["authorizer"] = types.new("kubernetes.authorization.Authorizer")
                data["authorizer.requestResource"] = types.new(
                    "kubernetes.authorization.ResourceCheck", **values.request_resource
                )
            activation = values.made[key] = self._environment.env.Activation(data)
        return activation


def _unwrapped(item: Any) -> Any:
    return item.value() if hasattr(item, "plain_value") else item


def _request_message(types: Any, request: Mapping[str, Any]) -> Any:
    from google.protobuf import json_format

    message = types.new("kubernetes.AdmissionRequest")
    return json_format.ParseDict({k: v for k, v in request.items() if v is not None}, message)


def _go_words(message: str) -> str:
    """A failure in the words of upstream's runtime, where there are such."""
    if "Iteration budget exceeded" in message:
        return _BUDGET
    text = _TRAILER.sub("", _CODE.sub("", message))
    missing = _MISSING_KEY.search(text)
    if missing is not None:
        return f"no such key: {missing.group(1)}"
    index = _INDEX.search(text)
    if index is not None:
        return f"index out of bounds: {index.group(1)}"
    for ours, theirs in _PHRASES:
        if ours in text:
            return theirs
    return text


def compile_expression(expression: Expression, env: Environment | None = None) -> Program:
    """In the environment of the expression's scope or in `env`. Raises `CompilationError`."""
    text = source.with_variables(expression.text, expression.variables)
    text = source.with_optional_results(source.with_list_functions(text))
    if expression.result in (OBJECT, JSON_PATCHES):
        text, objects, fields = source.flat_objects(text)
        env = mutation_environment(expression.scope, objects, fields)
    elif env is None:
        env = environment(expression.scope)
    try:
        compiled = env.env.compile(text)
    except RuntimeError as error:
        raise CompilationError("compilation failed: " + _issues(str(error))) from error
    _check_result(expression.result, compiled.return_type().name())
    return Program(
        expression.text,
        compiled,
        env,
        expression.scope,
        expression.result,
        sees_request=_REQUEST.search(text) is not None,
    )


def _check_result(result: str, found: str) -> None:
    wanted = _RESULTS.get(result)
    if wanted is not None and found not in wanted:
        kinds = [_CEL_NAMES.get(name, name) for name in wanted]
        what = kinds[0] if len(kinds) == 1 else f"one of [{' '.join(kinds)}]"
        raise CompilationError(f"must evaluate to {what} but got {_CEL_NAMES.get(found, found.lower())}")


_RESULTS = {
    BOOL: ("BOOL",),
    STRING: ("STRING",),
    STRING_OR_NULL: ("STRING", "NULL"),
    OBJECT: ("Object_",),
    JSON_PATCHES: ("LIST<JSONPatch>",),
}
_CEL_NAMES = {
    "BOOL": "bool", "STRING": "string", "NULL": "null_type", "INT": "int", "UINT": "uint", "DOUBLE": "double",
    "DYN": "dyn", "Object_": "Object", "LIST<JSONPatch>": "list(JSONPatch)", "TIMESTAMP": "timestamp",
    "DURATION": "duration", "BYTES": "bytes",
}  # fmt: skip


def _issues(message: str) -> str:
    text = _TRAILER.sub("", _CODE.sub("", message))
    for ours, theirs in (
        (source.VARIABLE_PREFIX, "variables."), (source.OBJECT_PREFIX + "_", "Object."), (source.INDEX, "indexOf"),
        (source.LAST_INDEX, "lastIndexOf"), (source.VALIDATE, "validate"), (source.NAMED, "named"),
    ):  # fmt: skip
        text = text.replace(ours, theirs)
    return text

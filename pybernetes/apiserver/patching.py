"""Patches: from a content type and a body to a change of an object. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from pybernetes.api import errors, field
from pybernetes.api.json_values import has_infinity
from pybernetes.api.meta import Object
from pybernetes.api.patch import json_patch, merge, strategic
from pybernetes.api.schema import text
from pybernetes.api.schema.decode import FieldValidation
from pybernetes.api.schema.nodes import type_of
from pybernetes.apiserver.options import WriteOptions
from pybernetes.apiserver.served import What
from pybernetes.client.interface import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)

_OPERATION_FIELDS = frozenset({"op", "path", "from", "value"})


@dataclass(frozen=True, slots=True)
class Patch:
    """A parsed patch: of `type` JSON_PATCH a list of operations, else an object."""

    type: str
    body: Any
    faults: tuple[str, ...] = ()
    """What strict decoding has to say about its text: duplicate and unknown fields."""
    fault: errors.ApiError | None = None
    """Why the text is no patch. Told when the patch is applied, since what is not there is told before."""
    strict: bool = True
    """Whether fields are validated: what is wrong with the text is told in other words then."""


def unsupported(content_type: str) -> errors.UnsupportedMediaType:
    return errors.UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(TYPES)}"
    )


def read(type_: str, body: bytes, validation: FieldValidation) -> Patch:
    """The patch in a request's body."""
    strict = validation != "Ignore"
    try:
        if type_ == APPLY_PATCH:
            parsed = _parse_configuration(body, strict)
        else:
            parsed = text.parse_json(body, find_duplicates=strict)
    except text.TextError as e:
        return Patch(type_, None, fault=errors.BadRequest(_unreadable(type_, str(e), strict=strict)))
    if has_infinity(parsed.value):
        where = "struct field jsonPatchOp.value" if type_ == JSON_PATCH else "value"
        why = f"json: cannot unmarshal number{_beyond(body)} into Go {where} of type float64"
        return Patch(type_, None, fault=errors.BadRequest(_unreadable(type_, why, strict=True)))
    faults: Sequence[str] = parsed.faults
    if type_ == JSON_PATCH and strict:
        faults = [f"json patch {fault}" for fault in (*_unknown_fields(parsed.value), *faults)]
    return Patch(type_, parsed.value, tuple(faults), strict=strict)


_NUMBER = re.compile(rb"-?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?")


def _beyond(body: bytes) -> str:
    """The first number of a text that is beyond a float's range, after a space."""
    found = (m[0].decode() for m in _NUMBER.finditer(body) if m[0].count(b".") < 2 and math.isinf(float(m[0])))
    return "".join(f" {number}" for number in islice(found, 1))


def _parse_configuration(body: bytes, strict: bool) -> text.Body:
    """YAML. Most programs send JSON, which YAML has room for, and reading that as JSON costs a tenth."""
    if body.startswith(b"{"):
        try:
            parsed = text.parse_json(body, find_duplicates=strict)
        except text.TextError:
            parsed = None
        if parsed is not None and not parsed.faults:
            return parsed
    return text.parse_yaml(body, find_duplicates=strict)


def _unreadable(type_: str, why: str, *, strict: bool) -> str:
    if type_ == APPLY_PATCH:
        return f"error decoding YAML: {why}"
    if type_ == STRATEGIC_MERGE_PATCH:
        return why
    if strict:
        return f"error decoding patch: {why}"
    return merge.BAD_PATCH if type_ == MERGE_PATCH else why


def _unknown_fields(operations: Any) -> list[str]:
    if not isinstance(operations, list):
        return []
    return [
        f'unknown field "[{i}].{key}"'
        for i, operation in enumerate(operations)
        if isinstance(operation, dict)
        for key in operation
        if key not in _OPERATION_FIELDS
    ]


def check_options(patch: Patch, options: WriteOptions) -> None:
    """Raises `Invalid`: apply needs a manager, and nothing else may be forced."""
    if patch.type == APPLY_PATCH and not options.field_manager:
        fault = field.required(field.Path("fieldManager"), "is required for apply patch")
    elif patch.type != APPLY_PATCH and options.force:
        fault = field.forbidden(field.Path("force"), "may not be specified for non-apply patch")
    else:
        return
    raise errors.invalid("meta.k8s.io", "PatchOptions", "", [fault])


def apply(patch: Patch, current: Object, what: What) -> Object:
    """The object patched in any way but server-side apply; a new one that may share parts with `current`.

    Raises `Invalid`, `BadRequest` and others as the patch modules say.
    """
    if patch.fault is not None:
        raise patch.fault
    if patch.type == MERGE_PATCH:
        return merge.apply(current, patch.body, strict=patch.strict)
    if patch.type == JSON_PATCH:
        return json_patch.apply(current, patch.body, strict=patch.strict)
    return strategic.apply(current, patch.body, type_of(what))


def configuration(patch: Patch) -> Object:
    """What a server-side apply applies. Raises `BadRequest` where the body holds no object."""
    if patch.fault is not None:
        raise patch.fault
    if not isinstance(patch.body, dict):
        kind = _GO_KINDS.get(type(patch.body))
        raise errors.BadRequest(
            f"error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go "
            "value of type map[string]interface {}"
            if kind
            else "Incorrect version specified in apply patch. Specified patch version: , expected: "
        )
    return patch.body


_GO_KINDS: dict[type, str] = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}


def shown(patch: Patch) -> Callable[[], str] | None:
    """How an error shows what was patched, where that is not the result."""
    return partial(strategic.go_text, patch.body) if patch.type == STRATEGIC_MERGE_PATCH else None


def tell_duplicates(patch: Patch, validation: FieldValidation, warnings: list[str]) -> None:
    """Warns of duplicate fields in an applied configuration. Raises `BadRequest` where they are to be refused."""
    if not patch.faults or validation == "Ignore":
        return
    why = "error converting YAML to JSON: " + ", ".join(patch.faults)
    if validation == "Strict":
        raise errors.BadRequest(f"error strict decoding YAML: {why}")
    if why not in warnings:
        warnings.append(why)

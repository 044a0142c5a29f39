"""OpenAPI v3 documents, one for each group and version, as dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pybernetes.api.openapi import nonresources
from pybernetes.api.openapi.operations import GroupVersionKind, Operation, Parameter, Path, paths
from pybernetes.api.openapi.schemas import Schemas
from pybernetes.api.openapi.v2 import extensions
from pybernetes.api.resources import Resource
from pybernetes.api.schema.nodes import DEFAULTS
from pybernetes.api.schema.source import REF, Definition

_REF = "#/components/schemas/"
_CODES = {200: "OK", 201: "Created", 202: "Accepted"}
_PATCH = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."

_REPLACED: dict[str, Definition] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}
"""Types that v3 can say more exactly than v2."""

_ZERO: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_ALWAYS_THERE = frozenset({"metadata", "spec", "status", "template", "resources", "strategy", "updateStrategy"})
"""Fields whose Go type is a struct and no pointer, so that upstream gives them ``{}`` as default."""


def _item(schema: Definition) -> Definition:
    """A list's or map's element: a zero value is its default."""
    if "$ref" in schema:
        return {"allOf": [{"$ref": _REF + schema["$ref"].removeprefix(REF)}], "default": {}}
    out = _convert(schema)
    if schema.get("type") in _ZERO and schema.get("format") != "byte":
        out["default"] = _ZERO[schema["type"]]
    return out


def _convert(schema: Definition) -> Definition:
    """A schema of v2 in the form of v3."""
    out: Definition = {}
    for key, value in schema.items():
        if key == "$ref":
            if len(schema) == 1:
                return {"$ref": _REF + value.removeprefix(REF)}
            # In v3 nothing may stand beside a reference.
            out["allOf"] = [{"$ref": _REF + value.removeprefix(REF)}]
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = _item(value)
        elif key == "allOf":
            out[key] = [_convert(part) for part in value]
        else:
            out[key] = value
    return out


def _property(owner: str, name: str, schema: Definition, required: bool) -> Definition:
    out = _convert(schema)
    if (owner, name) in DEFAULTS:
        return {**out, "default": DEFAULTS[owner, name]}
    if required and schema.get("type") in _ZERO and schema.get("format") != "byte":
        return {**out, "default": _ZERO[schema["type"]]}
    if "$ref" in schema and (name in _ALWAYS_THERE or (schema["$ref"] == f"{REF}{_META}Time" and required)):
        return {**out, "allOf": [{"$ref": _REF + schema["$ref"].removeprefix(REF)}], "default": {}}
    return out


def _definition(name: str, definition: Definition) -> Definition:
    if name in _REPLACED:
        return {"description": definition.get("description", ""), **_REPLACED[name]}
    out = _convert({k: v for k, v in definition.items() if k != "properties"})
    if "properties" in definition:
        required = set(definition.get("required", ()))
        out["properties"] = {
            p: _property(name, p, schema, p in required) for p, schema in definition["properties"].items()
        }
    return out


def _parameter(p: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": p.type, "uniqueItems": True}
    if p.repeated:
        schema = {"type": "array", "items": {"type": p.type}}
    out: dict[str, Any] = {"name": p.name, "in": "path" if p.in_path else "query", "description": p.description}
    if p.in_path:
        out["required"] = True
    return {**out, "schema": schema}


def _ref(schemas: Schemas, kind: GroupVersionKind) -> dict[str, Any]:
    name = schemas.name(kind)
    return {"$ref": _REF + name} if name else {"type": "object"}


def _operation(op: Operation, schemas: Schemas) -> dict[str, Any]:
    out: dict[str, Any] = {
        "tags": [op.tag],
        **({"description": op.description} if op.description else {}),
        "operationId": op.id,
    }
    if op.parameters:
        out["parameters"] = [_parameter(p) for p in op.parameters]
    if op.is_patch:
        body: dict[str, Any] = {"schema": {"$ref": _REF + _PATCH}}
        out["requestBody"] = {"content": dict.fromkeys(op.consumes, body), "required": True}
    elif op.body is not None:
        out["requestBody"] = {"content": {"*/*": {"schema": _ref(schemas, op.body)}}}
        if op.method != "delete":
            out["requestBody"]["required"] = True
    answer = _ref(schemas, op.answer) if op.answer else {"type": "string"}
    out["responses"] = {
        **{
            str(code): {"description": _CODES[code], "content": {media: {"schema": answer} for media in op.produces}}
            for code in op.codes
        },
        "401": {"description": "Unauthorized"},
    }
    return {**out, **extensions(op)}


def build(resources: Sequence[Resource], version: str, schemas: Schemas) -> dict[str, Any]:
    """The document of resources that share a group and version. `version` is the Kubernetes release."""
    own = [nonresources.discovery(r.group, r.version) for r in resources[:1]]
    return build_paths([*own, *paths(resources)], version, schemas)


def build_paths(found: Sequence[Path], version: str, schemas: Schemas) -> dict[str, Any]:
    """A document of some paths."""
    operations = [op for p in found for op in p.operations]
    patch = [_PATCH] if any(op.is_patch for op in operations) else []
    names = sorted({*schemas.closure(k for op in operations for k in (op.body, op.answer, op.kind)), *patch})
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": {
            p.path: {
                **{op.method: _operation(op, schemas) for op in p.operations},
                "parameters": [_parameter(q) for q in p.parameters],
            }
            for p in found
        },
        "components": {
            "schemas": {name: _definition(name, schemas.definition(name)) for name in names},
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "description": "Bearer Token authentication",
                    "name": "authorization",
                    "in": "header",
                }
            },
        },
        "security": [{"BearerToken": []}],
    }

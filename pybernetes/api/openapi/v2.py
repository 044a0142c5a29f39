"""The OpenAPI v2 (Swagger) document of everything served, as a dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pybernetes.api.openapi import nonresources
from pybernetes.api.openapi.operations import GroupVersionKind, Operation, Parameter, paths
from pybernetes.api.openapi.schemas import Schemas
from pybernetes.api.resources import Resource
from pybernetes.api.schema.source import REF

_CODES = {200: "OK", 201: "Created", 202: "Accepted"}
_PATCH = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"


def _parameter(p: Parameter) -> dict[str, Any]:
    out: dict[str, Any] = {"name": p.name, "in": "path" if p.in_path else "query", "description": p.description}
    if p.repeated:
        out |= {"type": "array", "items": {"type": p.type}, "collectionFormat": "multi"}
    else:
        out["type"] = p.type
    if p.in_path:
        out["required"] = True
    else:
        out["uniqueItems"] = True
    return out


def gvk_extension(kind: GroupVersionKind) -> dict[str, str]:
    group, version, name = kind
    return {"group": group, "kind": name, "version": version}


def extensions(op: Operation) -> dict[str, Any]:
    """Which verb on which kind it is; nothing for what concerns no resource."""
    if op.kind is None:
        return {}
    return {"x-kubernetes-action": op.action, "x-kubernetes-group-version-kind": gvk_extension(op.kind)}


def _schema(schemas: Schemas, kind: GroupVersionKind) -> dict[str, Any]:
    name = schemas.name(kind)
    return {"$ref": REF + name} if name else {"type": "object"}


def _operation(op: Operation, schemas: Schemas) -> dict[str, Any]:
    parameters = [_parameter(p) for p in op.parameters]
    if op.is_patch:
        parameters.insert(0, {"name": "body", "in": "body", "required": True, "schema": {"$ref": REF + _PATCH}})
    elif op.body is not None:
        body: dict[str, Any] = {"name": "body", "in": "body", "schema": _schema(schemas, op.body)}
        if op.method != "delete":
            body["required"] = True
        parameters.insert(0, body)
    answer = _schema(schemas, op.answer) if op.answer else {"type": "string"}
    responses: dict[str, Any] = {str(code): {"description": _CODES[code], "schema": answer} for code in op.codes}
    responses["401"] = {"description": "Unauthorized"}
    out: dict[str, Any] = {
        **({"description": op.description} if op.description else {}),
        "consumes": list(op.consumes),
        "produces": list(op.produces),
        "schemes": ["https"],
        "tags": [op.tag],
        "operationId": op.id,
        "responses": responses,
        **extensions(op),
    }
    if parameters:
        out["parameters"] = parameters
    return out


def build(resources: Iterable[Resource], version: str, schemas: Schemas) -> dict[str, Any]:
    """The whole document. `version` is the Kubernetes release, such as ``v1.37.0``."""
    served = tuple(resources)
    versions = dict.fromkeys((r.group, r.version) for r in served)
    found = [
        *paths(served),
        *(nonresources.discovery(*v) for v in versions),
        *(path for document in nonresources.documents(served).values() for path in document),
    ]
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": {
            p.path: {
                **{op.method: _operation(op, schemas) for op in p.operations},
                "parameters": [_parameter(q) for q in p.parameters],
            }
            for p in sorted(found, key=lambda p: p.path)
        },
        "definitions": {name: schemas.definition(name) for name in schemas.all_names()},
        "securityDefinitions": {
            "BearerToken": {
                "description": "Bearer Token authentication",
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
            }
        },
        "security": [{"BearerToken": []}],
    }

"""The OpenAPI v2 document as the protobuf message that kubectl asks for.

The messages are gnostic's (``openapi.v2``), of which gnostic.proto holds the part written here. To generate
gnostic_pb2.py again: ``python -m pybernetes.api.openapi.gnostic``, with the ``dev`` extra installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from pybernetes.api.openapi import gnostic_pb2 as pb

_SCHEMA_FIELDS = frozenset({"$ref", "format", "description", "default", "required", "enum", "type", "items"})


def _extensions(found: dict[str, Any]) -> list[pb.NamedAny]:
    # The value is YAML text; JSON is YAML.
    return [
        pb.NamedAny(name=key, value=pb.Any(yaml=orjson.dumps(value).decode()))
        for key, value in found.items()
        if key.startswith("x-")
    ]


def _schema(schema: dict[str, Any]) -> pb.Schema:
    out = pb.Schema(
        format=schema.get("format", ""),
        description=schema.get("description", ""),
        required=schema.get("required", ()),
        vendor_extension=_extensions(schema),
    )
    if isinstance(schema.get("$ref"), str):
        setattr(out, "_ref", schema["$ref"])  # noqa: B010  a message's field, private in name alone
    if "default" in schema:
        out.default.yaml = orjson.dumps(schema["default"]).decode()
    for value in schema.get("enum", ()):
        out.enum.add(yaml=orjson.dumps(value).decode())
    if isinstance(schema.get("type"), str):
        out.type.value.append(schema["type"])
    if "items" in schema:
        out.items.schema.append(_schema(schema["items"]))
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        out.additional_properties.schema.CopyFrom(_schema(more))
    elif isinstance(more, bool):
        out.additional_properties.boolean = more
    if "properties" in schema:
        out.properties.additional_properties.extend(
            pb.NamedSchema(name=name, value=_schema(prop)) for name, prop in schema["properties"].items()
        )
    return out


def _parameter(p: dict[str, Any]) -> pb.ParametersItem:
    place = p["in"]
    common: dict[str, Any] = {
        "name": p["name"], "in": place, "description": p.get("description", ""), "required": p.get("required", False),
    }  # fmt: skip
    if place == "body":
        body = pb.BodyParameter(schema=_schema(p["schema"]), **common)
        return pb.ParametersItem(parameter=pb.Parameter(body_parameter=body))
    common |= {"type": p["type"], "unique_items": p.get("uniqueItems", False)}
    if place == "path":
        other = pb.NonBodyParameter(path_parameter_sub_schema=pb.PathParameterSubSchema(**common))
    else:
        query = pb.QueryParameterSubSchema(collection_format=p.get("collectionFormat", ""), **common)
        if "items" in p:
            query.items.type = p["items"]["type"]
        other = pb.NonBodyParameter(query_parameter_sub_schema=query)
    return pb.ParametersItem(parameter=pb.Parameter(non_body_parameter=other))


def _response(code: str, response: dict[str, Any]) -> pb.NamedResponseValue:
    out = pb.Response(description=response["description"])
    if "schema" in response:
        out.schema.schema.CopyFrom(_schema(response["schema"]))
    return pb.NamedResponseValue(name=code, value=pb.ResponseValue(response=out))


def _operation(op: dict[str, Any]) -> pb.Operation:
    return pb.Operation(
        tags=op["tags"],
        description=op.get("description", ""),
        operation_id=op["operationId"],
        produces=op["produces"],
        consumes=op["consumes"],
        schemes=op["schemes"],
        parameters=[_parameter(p) for p in op.get("parameters", ())],
        responses=pb.Responses(response_code=[_response(c, r) for c, r in op["responses"].items()]),
        vendor_extension=_extensions(op),
    )


def encode(document: dict[str, Any]) -> bytes:
    """The document that `pybernetes.api.openapi.v2.build` made, as bytes of ``openapi.v2.Document``."""
    out = pb.Document(swagger=document["swagger"], info=pb.Info(**document["info"]))
    for path, item in document["paths"].items():
        value = pb.PathItem(
            parameters=[_parameter(p) for p in item["parameters"]],
            **{method: _operation(op) for method, op in item.items() if method != "parameters"},
        )
        out.paths.path.append(pb.NamedPathItem(name=path, value=value))
    out.definitions.additional_properties.extend(
        pb.NamedSchema(name=name, value=_schema(schema)) for name, schema in document["definitions"].items()
    )
    for name, scheme in document["securityDefinitions"].items():
        item = pb.SecurityDefinitionsItem(api_key_security=pb.ApiKeySecurity(**scheme))
        out.security_definitions.additional_properties.append(pb.NamedSecurityDefinitionsItem(name=name, value=item))
    for requirement in document["security"]:
        out.security.append(
            pb.SecurityRequirement(
                additional_properties=[
                    pb.NamedStringArray(name=name, value=pb.StringArray(value=scopes))
                    for name, scopes in requirement.items()
                ]
            )
        )
    content: bytes = out.SerializeToString(deterministic=True)
    return content


def generate(out: Path) -> Path:
    """Writes the message classes below `out`, at the package's path."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # only developers have it

    here = Path(__file__).resolve().parent
    root = here.parents[2]
    relative = here.relative_to(root)
    code = protoc.main(
        ["protoc", f"-I{root}", f"--python_out={out}", f"--pyi_out={out}", str(relative / "gnostic.proto")]
    )
    if code != 0:
        raise SystemExit(code)
    return out / relative / "gnostic_pb2.py"


if __name__ == "__main__":
    print(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[3]))

"""The schema file and the compiled types."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybernetes.api import resources
from pybernetes.api.resources import BUILTIN
from pybernetes.api.schema import ListNode, MapNode, ObjectNode, UnionNode, definitions, nodes, source, type_of


def test_every_served_kind_has_a_type() -> None:
    for resource in BUILTIN:
        node = type_of(resource)
        assert node.short_name == resource.kind
        assert {"apiVersion", "kind"} <= set(node.fields)
        if "list" in resource.verbs:
            assert "items" in type_of((resource.group, resource.version, resource.list_kind)).fields


def test_subresource_kinds_have_types() -> None:
    for gvk in (
        ("autoscaling", "v1", "Scale"),
        ("policy", "v1", "Eviction"),
        ("authentication.k8s.io", "v1", "TokenRequest"),
        ("", "v1", "Binding"),
        ("", "v1", "Status"),
    ):
        assert type_of(gvk).short_name == gvk[2]


def _field(node: object, *path: str) -> nodes.Field:
    field = None
    for name in path:
        while isinstance(node, ListNode):
            node = node.items
        assert isinstance(node, ObjectNode)
        field = node.fields[name]
        node = field.node
    assert field is not None
    return field


def test_types_of_fields() -> None:
    pod = type_of(resources.PODS)
    containers = _field(pod, "spec", "containers").node
    assert isinstance(containers, ListNode)
    assert (containers.list_type, containers.map_keys, containers.merge_key) == ("map", ("name",), "name")
    assert containers.patch_strategies == {"merge"} and containers.go_name == "[]v1.Container"
    ports = _field(pod, "spec", "containers", "ports").node
    assert isinstance(ports, ListNode) and ports.map_keys == ("containerPort", "protocol")
    assert _field(pod, "spec", "containers", "ports", "protocol").default == "TCP"
    limits = _field(pod, "spec", "containers", "resources", "limits").node
    assert isinstance(limits, MapNode) and limits.values is nodes.QUANTITY
    selector = _field(pod, "spec", "nodeSelector").node
    assert isinstance(selector, MapNode) and selector.atomic
    finalizers = _field(pod, "metadata", "finalizers").node
    assert isinstance(finalizers, ListNode) and finalizers.list_type == "set"
    assert _field(pod, "spec", "volumes").patch_strategies == {"merge", "retainKeys"}
    assert _field(pod, "spec", "activeDeadlineSeconds").node is nodes.INT64
    assert _field(pod, "spec", "containers", "livenessProbe", "httpGet", "port").node is nodes.INT_OR_STRING
    assert _field(type_of(resources.SECRETS), "data").node.values is nodes.BYTES  # type: ignore[union-attr]
    assert _field(type_of(resources.LEASES), "spec", "renewTime").node is nodes.MICRO_TIME
    assert "retainKeys" in _field(type_of(resources.DEPLOYMENTS), "spec", "strategy").patch_strategies
    assert _field(type_of(resources.DEPLOYMENTS), "spec", "template").required


def test_recursive_types_end() -> None:
    schema = _field(type_of(resources.CUSTOMRESOURCEDEFINITIONS), "spec", "versions", "schema", "openAPIV3Schema").node
    items = _field(schema, "items").node
    assert isinstance(items, UnionNode) and items.object is schema


def test_descriptions_stand_apart() -> None:
    assert "description" not in source.structure()["io.k8s.api.core.v1.Pod"]
    texts = source.descriptions()["io.k8s.api.core.v1.Pod"]
    assert texts[""].startswith("Pod is a collection of containers")
    assert texts["spec"]


def test_definitions_are_in_openapi_form() -> None:
    for name, definition in source.structure().items():
        for schema in (definition, *(definition.get("properties") or {}).values()):
            assert not isinstance(schema.get("type"), list), name
            assert "oneOf" not in schema
            if "$ref" in schema and isinstance(schema["$ref"], str):
                assert schema["$ref"].removeprefix(source.REF) in source.structure()
    assert source.structure()["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string"


def test_building_is_reproducible_and_atomic(tmp_path: Path) -> None:
    target = tmp_path / "a" / definitions.FILE_NAME
    definitions.build(target, BUILTIN)
    first = target.read_bytes()
    definitions.build(target, reversed(BUILTIN))
    assert target.read_bytes() == first
    assert [p.name for p in target.parent.iterdir()] == [definitions.FILE_NAME]


def test_unknown_kind() -> None:
    with pytest.raises(KeyError):
        type_of(("apps", "v1", "Nonsense"))

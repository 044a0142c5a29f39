"""OpenAPI documents: whole, consistent, and readable by what kubectl reads them with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pybernetes.api.openapi import OpenAPI, gnostic
from pybernetes.api.openapi import gnostic_pb2 as pb
from pybernetes.api.resources import BUILTIN, Resource, group_versions

API = OpenAPI(BUILTIN)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, v in value.items():
            if key == "$ref" and isinstance(v, str):
                yield v
            else:
                yield from _references(v)
    elif isinstance(value, list):
        for v in value:
            yield from _references(v)


@pytest.fixture(scope="module")
def v2() -> Any:
    return orjson.loads(API.v2_json.content)


@pytest.fixture(scope="module")
def apps() -> Any:
    document = API.v3("apps", "v1")
    assert document is not None
    return orjson.loads(document.content)


def test_v2_has_every_path_and_no_loose_end(v2: Any) -> None:
    for resource in BUILTIN:
        if "get" in resource.verbs:
            assert resource.path("{namespace}", "{name}") in v2["paths"]
        for sub in resource.subresources:
            assert resource.path("{namespace}", "{name}", sub.name) in v2["paths"]
    for ref in set(_references(v2)):
        assert ref.removeprefix("#/definitions/") in v2["definitions"], ref
    ids = [op["operationId"] for item in v2["paths"].values() for m, op in item.items() if m != "parameters"]
    assert len(ids) == len(set(ids))


def test_operations_are_named_and_marked_as_upstream(v2: Any) -> None:
    one = v2["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert {m: op["operationId"] for m, op in one.items() if m != "parameters"} == {
        "get": "readAppsV1NamespacedDeployment",
        "put": "replaceAppsV1NamespacedDeployment",
        "patch": "patchAppsV1NamespacedDeployment",
        "delete": "deleteAppsV1NamespacedDeployment",
    }
    assert one["patch"]["x-kubernetes-action"] == "patch"
    assert one["patch"]["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= {p["name"] for p in one["patch"]["parameters"]}
    scale = v2["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["put"]
    assert scale["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert v2["paths"]["/api/v1/pods"]["get"]["operationId"] == "listCoreV1PodForAllNamespaces"
    node = v2["paths"]["/api/v1/nodes/{name}"]["get"]
    assert node["operationId"] == "readCoreV1Node"
    rbac = v2["paths"]["/apis/rbac.authorization.k8s.io/v1/clusterroles"]["post"]
    assert rbac["operationId"] == "createRbacAuthorizationV1ClusterRole"


def test_definitions_have_what_kubectl_needs(v2: Any) -> None:
    spec = v2["definitions"]["io.k8s.api.core.v1.PodSpec"]
    assert spec["description"] == "PodSpec is a description of a pod."
    containers = spec["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name" and containers["description"]
    pod = v2["definitions"]["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]


def test_v2_protobuf_says_what_json_says(v2: Any) -> None:
    document = pb.Document.FromString(API.v2_protobuf.content)
    assert document.swagger == "2.0" and document.info.version == "v1.37.0"
    assert [p.name for p in document.paths.path] == list(v2["paths"])
    definitions = {d.name: d.value for d in document.definitions.additional_properties}
    assert definitions.keys() == v2["definitions"].keys()
    properties = {p.name: p.value for p in definitions["io.k8s.api.core.v1.Container"].properties.additional_properties}
    ports = properties["ports"]
    assert list(ports.type.value) == ["array"]
    assert getattr(ports.items.schema[0], "_ref") == "#/definitions/io.k8s.api.core.v1.ContainerPort"  # noqa: B009
    assert {e.name: orjson.loads(e.value.yaml) for e in ports.vendor_extension} == {
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-patch-merge-key": "containerPort",
        "x-kubernetes-patch-strategy": "merge",
    }
    path = next(p.value for p in document.paths.path if p.name.endswith("/deployments/{name}"))
    names = {q.parameter.non_body_parameter.query_parameter_sub_schema.name for q in path.patch.parameters}
    assert {"fieldValidation", "dryRun"} <= names
    extensions = {e.name: orjson.loads(e.value.yaml) for e in path.patch.vendor_extension}
    assert extensions["x-kubernetes-group-version-kind"]["kind"] == "Deployment"


def test_the_message_classes_are_those_of_the_proto_file(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    fresh = gnostic.generate(tmp_path)
    committed = Path(gnostic.__file__).with_name("gnostic_pb2.py")
    body = [line for line in fresh.read_text().splitlines() if "_builder" not in line and "AddSerializedFile" in line]
    assert body and body[0] in committed.read_text()


def test_v3_index_names_every_version() -> None:
    index = orjson.loads(API.v3_index.content)["paths"]
    for group, version in group_versions():
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        document = API.v3(group, version)
        assert document is not None
        assert index[path] == {"serverRelativeURL": f"/openapi/v3/{path}?hash={document.etag}"}
    assert API.v3("apps", "v1beta1") is None


def test_v3_documents_have_no_loose_end() -> None:
    for group, version in group_versions():
        document = API.v3(group, version)
        assert document is not None
        value = orjson.loads(document.content)
        assert value["openapi"] == "3.0.0"
        for ref in set(_references(value)):
            assert ref.removeprefix("#/components/schemas/") in value["components"]["schemas"], ref


def test_v3_schemas(apps: Any) -> None:
    schemas = apps["components"]["schemas"]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]["properties"]
    assert deployment["metadata"]["default"] == {}
    assert deployment["metadata"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    ]
    container = schemas["io.k8s.api.core.v1.Container"]["properties"]
    assert container["name"]["default"] == "" and "default" not in container["image"]
    assert container["ports"]["items"]["default"] == {}
    assert schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"] == "TCP"
    assert schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["oneOf"] == [
        {"type": "integer"}, {"type": "string"},
    ]  # fmt: skip
    assert "io.k8s.api.batch.v1.Job" not in schemas
    patch = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "application/apply-patch+yaml" in patch["requestBody"]["content"]
    assert "fieldValidation" in {p["name"] for p in patch["parameters"]}


def test_documents_are_built_once_and_alike() -> None:
    assert API.v2_json is API.v2_json
    again = OpenAPI(BUILTIN)
    assert again.v2_protobuf == API.v2_protobuf
    assert again.v3_index == API.v3_index


def test_custom_kinds_join() -> None:
    widget = Resource("example.com", "v1", "widgets", "Widget", "widget", True)
    gadget = Resource("example.com", "v1", "gadgets", "Gadget", "gadget", False)
    definition = {
        "type": "object",
        "description": "Widget turns.",
        "properties": {"metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}},
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}],
    }
    api = OpenAPI((*BUILTIN, widget, gadget), {("example.com", "v1", "Widget"): ("com.example.v1.Widget", definition)})
    document = api.v3("example.com", "v1")
    assert document is not None
    value = orjson.loads(document.content)
    assert value["components"]["schemas"]["com.example.v1.Widget"]["description"] == "Widget turns."
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in value["components"]["schemas"]
    assert "/apis/example.com/v1/gadgets/{name}" in value["paths"]
    assert "com.example.v1.Widget" in orjson.loads(api.v2_json.content)["definitions"]
    assert api.v3("apps", "v1") == API.v3("apps", "v1")


def test_what_concerns_no_resource_has_operations_and_documents_too(v2: Any) -> None:
    assert v2["paths"]["/apis/"]["get"]["operationId"] == "getAPIVersions"
    assert "x-kubernetes-action" not in v2["paths"]["/version/"]["get"]
    index = orjson.loads(API.v3_index.content)["paths"]
    assert {"api", "apis", "apis/apps", "apis/apps/v1", "version", "logs", "openid/v1/jwks"} <= index.keys()
    document = API.v3_at("version")
    assert document is not None
    version = orjson.loads(document.content)
    answer = version["paths"]["/version/"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.version.Info"}
    for path in index:
        found = API.v3_at(path)
        assert found is not None
        value = orjson.loads(found.content)
        for ref in set(_references(value)):
            assert ref.removeprefix("#/components/schemas/") in value["components"]["schemas"], ref


def test_the_deprecated_watches_are_described(v2: Any) -> None:
    found = {
        path: (item["get"]["operationId"], item["get"]["x-kubernetes-action"])
        for path, item in v2["paths"].items()
        if "/watch/" in path and path.endswith(("/deployments", "/deployments/{name}", "/nodes", "/nodes/{name}"))
    }
    at = "/apis/apps/v1/watch"
    assert found == {
        f"{at}/deployments": ("watchAppsV1DeploymentListForAllNamespaces", "watchlist"),
        f"{at}/namespaces/{{namespace}}/deployments": ("watchAppsV1NamespacedDeploymentList", "watchlist"),
        f"{at}/namespaces/{{namespace}}/deployments/{{name}}": ("watchAppsV1NamespacedDeployment", "watch"),
        "/api/v1/watch/nodes": ("watchCoreV1NodeList", "watchlist"),
        "/api/v1/watch/nodes/{name}": ("watchCoreV1Node", "watch"),
    }

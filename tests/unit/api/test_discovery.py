"""Discovery documents."""

from __future__ import annotations

from typing import Any

from pybernetes.api import discovery
from pybernetes.api.document import Document
from pybernetes.api.resources import BUILTIN, Resource, Subresource, group_versions


def _by_name(answer: Any) -> dict[str, Any]:
    return {r["name"]: r for r in answer["resources"]}


def test_versions_and_groups() -> None:
    answer = discovery.api_versions(BUILTIN, "10.0.0.1:6443")
    assert answer["versions"] == ["v1"]
    assert answer["serverAddressByClientCIDRs"] == [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}]
    groups = {g["name"]: g for g in discovery.api_group_list(BUILTIN)["groups"]}
    assert "" not in groups and {"apps", "batch", "rbac.authorization.k8s.io"} <= groups.keys()
    autoscaling = discovery.api_group(BUILTIN, "autoscaling")
    assert autoscaling is not None
    assert autoscaling["preferredVersion"] == {"groupVersion": "autoscaling/v2", "version": "v2"}
    assert [v["version"] for v in autoscaling["versions"]] == ["v2", "v1"]
    assert discovery.api_group(BUILTIN, "") is None and discovery.api_group(BUILTIN, "nope") is None


def test_resources_of_a_version() -> None:
    core = discovery.api_resource_list(BUILTIN, "", "v1")
    assert core is not None and core["groupVersion"] == "v1" and "apiVersion" not in core
    names = [r["name"] for r in core["resources"]]
    assert names == sorted(names)
    pods = _by_name(core)["pods"]
    assert pods["shortNames"] == ["po"] and pods["categories"] == ["all"] and pods["verbs"] == sorted(pods["verbs"])
    assert _by_name(core)["pods/eviction"] == {
        "name": "pods/eviction", "singularName": "", "namespaced": True, "group": "policy", "version": "v1",
        "kind": "Eviction", "verbs": ["create"],
    }  # fmt: skip
    assert "group" not in _by_name(core)["pods/status"]
    apps = discovery.api_resource_list(BUILTIN, "apps", "v1")
    assert apps is not None and apps["apiVersion"] == "v1"
    assert _by_name(apps)["deployments/scale"]["group"] == "autoscaling"
    assert discovery.api_resource_list(BUILTIN, "apps", "v1beta1") is None


def test_aggregated_says_the_same() -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for core in (True, False):
        answer = discovery.aggregated(BUILTIN, core=core)
        assert answer["apiVersion"] == "apidiscovery.k8s.io/v2"
        for group in answer["items"]:
            for v in group["versions"]:
                names = found.setdefault((group["metadata"].get("name", ""), v["version"]), set())
                for r in v["resources"]:
                    names.add(r["resource"])
                    names |= {f"{r['resource']}/{s['subresource']}" for s in r.get("subresources", ())}
    assert found.keys() == set(group_versions())
    for (group_name, v_name), names in found.items():
        listed = discovery.api_resource_list(BUILTIN, group_name, v_name)
        assert listed is not None and {r["name"] for r in listed["resources"]} == names


def test_kinds_of_aggregated_subresources() -> None:
    answer = discovery.aggregated(BUILTIN, core=True)
    pods = next(r for r in answer["items"][0]["versions"][0]["resources"] if r["resource"] == "pods")
    kinds = {s["subresource"]: s["responseKind"] for s in pods["subresources"]}
    assert kinds["status"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert kinds["eviction"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    assert pods["scope"] == "Namespaced"


def test_custom_resources_join() -> None:
    widget = Resource(
        "example.com", "v1alpha1", "widgets", "Widget", "widget", True,
        subresources=(Subresource("status", ("get", "patch", "update"), "Widget"),),
    )  # fmt: skip
    everything = (*BUILTIN, widget)
    listed = discovery.api_resource_list(everything, "example.com", "v1alpha1")
    assert listed is not None and [r["name"] for r in listed["resources"]] == ["widgets", "widgets/status"]
    assert any(g["name"] == "example.com" for g in discovery.api_group_list(everything)["groups"])


def test_documents_have_stable_tags() -> None:
    a, b = (Document.of_json(discovery.aggregated(BUILTIN, core=False)) for _ in range(2))
    assert a == b and len(a.etag) == 128
    assert Document.of_json(discovery.aggregated(BUILTIN, core=True)).etag != a.etag


def test_the_stored_version_is_told_by_its_hash() -> None:
    core, v1, v2, apps = (
        _by_name(discovery.api_resource_list(BUILTIN, *version) or {})
        for version in (("", "v1"), ("autoscaling", "v1"), ("autoscaling", "v2"), ("events.k8s.io", "v1"))
    )
    assert core["pods"]["storageVersionHash"] == "xPOwRZ+Yhw8="
    assert v1["horizontalpodautoscalers"]["storageVersionHash"] == "qwQve8ut294="
    assert v2["horizontalpodautoscalers"]["storageVersionHash"] == "qwQve8ut294="
    assert apps["events"]["storageVersionHash"] == core["events"]["storageVersionHash"]
    assert "storageVersionHash" not in core["bindings"] and "storageVersionHash" not in core["pods/status"]


def test_groups_come_by_priority() -> None:
    custom = Resource("a.example.com", "v1", "widgets", "Widget", "widget", True)
    names = [g["name"] for g in discovery.api_group_list((custom, *BUILTIN))["groups"]]
    assert names[:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"] and names[-1] == "a.example.com"
    items = discovery.aggregated((custom, *BUILTIN), core=False)["items"]
    assert [i["metadata"]["name"] for i in items] == names

"""What an update of a pod, and its subresources, may change."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api.kinds.pods import PodStrategy, validate_binding
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from pybernetes.api.resources import PODS
from tests.unit.api.kinds.build import created, pod, update_faults

FORBIDDEN = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)


def changed(old: Object, **spec: Any) -> Object:
    new: Object = clone(old)
    new["spec"].update(spec)
    return new


def test_the_image_may_change() -> None:
    old = created(PODS, pod())
    new = clone(old)
    new["spec"]["containers"][0]["image"] = "nginx:1.26"
    assert update_faults(PODS, new, old) == []


def test_anything_else_may_not_and_the_message_shows_what() -> None:
    old = created(PODS, pod())
    new = clone(old)
    new["spec"]["containers"][0]["command"] = ["sh"]
    (error,) = update_faults(PODS, new, old)
    assert error.startswith(FORBIDDEN)
    assert '+ \tcontainers[0].command: ["sh"]' in error


def test_containers_may_not_come_or_go() -> None:
    old = created(PODS, pod())
    new = changed(old, containers=[*old["spec"]["containers"], {"name": "b", "image": "b:1"}])
    assert update_faults(PODS, new, old) == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


@pytest.mark.parametrize(
    ("before", "after", "errors"),
    [
        (None, 10, []),
        (10, 5, []),
        (5, 10, ["spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal to previous value"]),
        (
            5,
            None,
            ['spec.activeDeadlineSeconds: Invalid value: "null": must not update from a positive integer to nil value'],
        ),
    ],
)
def test_the_deadline_may_only_come_nearer(before: int | None, after: int | None, errors: list[str]) -> None:
    old = created(PODS, pod(**({} if before is None else {"activeDeadlineSeconds": before})))
    new = clone(old)
    if after is None:
        new["spec"].pop("activeDeadlineSeconds")
    else:
        new["spec"]["activeDeadlineSeconds"] = after
    assert update_faults(PODS, new, old) == errors


def test_tolerations_may_be_added_but_not_taken_away() -> None:
    one, two = ({"key": k, "operator": "Exists", "effect": "NoExecute"} for k in ("a", "b"))
    old = created(PODS, pod(tolerations=[one]))
    assert update_faults(PODS, changed(old, tolerations=[one, two]), old) == []
    assert update_faults(PODS, changed(old, tolerations=[{**one, "tolerationSeconds": 5}]), old) == []
    assert update_faults(PODS, changed(old, tolerations=[two]), old) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]


def test_gates_may_be_lifted_but_not_added() -> None:
    gates = [{"name": "example.com/a"}, {"name": "example.com/b"}]
    old = created(PODS, pod(schedulingGates=gates))
    assert update_faults(PODS, changed(old, schedulingGates=gates[:1]), old) == []
    assert update_faults(PODS, changed(old, schedulingGates=[{"name": "example.com/c"}]), old) == [
        "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate "
        "'example.com/c'"
    ]


def test_a_gated_pod_may_be_narrowed() -> None:
    old = created(PODS, pod(schedulingGates=[{"name": "example.com/a"}], nodeSelector={"disk": "ssd"}))
    assert update_faults(PODS, changed(old, nodeSelector={"disk": "ssd", "zone": "a"}), old) == []
    assert update_faults(PODS, changed(old, nodeSelector={"disk": "hdd"}), old) == [
        'spec.nodeSelector: Invalid value: {"disk":"hdd"}: only additions to spec.nodeSelector are allowed '
        "(no mutations or deletions)"
    ]
    ungated = created(PODS, pod(nodeSelector={"disk": "ssd"}))
    assert update_faults(PODS, changed(ungated, nodeSelector={"disk": "ssd", "zone": "a"}), ungated) != []


def test_an_update_does_not_touch_the_status() -> None:
    old = created(PODS, pod())
    new = clone(old)
    new["status"] = {"phase": "Failed"}
    strategy_for(PODS).prepare_for_update(new, old)
    assert new["status"] == old["status"]


def strategy() -> PodStrategy:
    out = strategy_for(PODS)
    assert isinstance(out, PodStrategy)
    return out


def test_ephemeral_containers_are_added_and_never_changed() -> None:
    old = created(PODS, pod())
    new = changed(old, ephemeralContainers=[{"name": "debug", "image": "busybox:1"}], nodeName="elsewhere")
    strategy().default(new)
    strategy().prepare_for_ephemeral_containers_update(new, old)
    assert "nodeName" not in new["spec"]
    assert strategy().validate_ephemeral_containers_update(new, old) == []
    again = clone(new)
    again["spec"]["ephemeralContainers"][0]["image"] = "busybox:2"
    (error,) = strategy().validate_ephemeral_containers_update(again, new)
    assert str(error).startswith(
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be changed\n'
    )


def test_an_ephemeral_container_has_no_ports() -> None:
    old = created(PODS, pod())
    new = changed(old, ephemeralContainers=[{"name": "debug", "image": "b:1", "ports": [{"containerPort": 1}]}])
    strategy().default(new)
    assert [str(e) for e in strategy().validate_ephemeral_containers_update(new, old)] == [
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
    ]


def test_resizing() -> None:
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    old = created(PODS, pod(containers=[{"name": "web", "image": "n:1", "resources": resources}]))
    new = clone(old)
    new["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2"
    new["spec"]["containers"][0]["image"] = "other:1"
    strategy().prepare_for_resize(new, old)
    assert new["spec"]["containers"][0]["image"] == "n:1"
    assert strategy().validate_resize(new, old) == []
    new["spec"]["containers"][0]["resources"]["requests"].pop("cpu")
    assert "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed" in [
        str(e) for e in strategy().validate_resize(new, old)
    ]


def resized(old: Object, new: Object) -> list[str]:
    out = clone(new)
    strategy().prepare_for_resize(out, old)
    return [str(e) for e in strategy().validate_resize(out, old)]


def sized(name: str, requests: Object | None = None, **fields: Any) -> Object:
    return {"name": name, "image": "n:1", "resources": {"requests": requests or {"cpu": "1"}}, **fields}


@pytest.mark.parametrize(
    ("before", "after", "errors"),
    [
        # Limits may come and shrink, whatever the policy says.
        (
            {"containers": [sized("a", {"memory": "1Gi"})]},
            {"containers": [sized("a", resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "3Gi"}})]},
            [],
        ),
        (
            {"containers": [sized("a", resources={"limits": {"memory": "2Gi"}, "requests": {"memory": "1Gi"}})]},
            {"containers": [sized("a", resources={"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}})]},
            [],
        ),
        # Init containers too, sidecars or not.
        (
            {"initContainers": [sized("i")], "containers": [sized("a")]},
            {"initContainers": [sized("i", {"cpu": "2"})], "containers": [sized("a")]},
            [],
        ),
        (
            {"containers": [sized("a")], "resources": {"requests": {"cpu": "2"}}},
            {"containers": [sized("a")], "resources": {"requests": {"cpu": "3"}}},
            [],
        ),
        (
            {"containers": [sized("a")], "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}},
            {"containers": [sized("a")], "resources": {"requests": {"cpu": "2"}}},
            ["spec.resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        (
            {"containers": [sized("a"), sized("b")]},
            {"containers": [sized("b"), sized("a")]},
            [
                "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
                "spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize",
            ],
        ),
        (
            {"containers": [sized("a"), sized("b")]},
            {"containers": [sized("a")]},
            ["spec.containers: Forbidden: containers may not be added or removed on resize"],
        ),
        (
            {"containers": [sized("a", {"cpu": "1", "ephemeral-storage": "1"})]},
            {"containers": [sized("a", {"cpu": "1", "ephemeral-storage": "3"})]},
            ["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
    ],
)
def test_what_may_be_resized(before: Object, after: Object, errors: list[str]) -> None:
    assert resized(created(PODS, pod(**clone(before))), created(PODS, pod(**clone(after)))) == errors


def test_resizing_keeps_the_qos_class() -> None:
    old = created(PODS, pod())
    new = clone(old)
    new["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    assert [str(e) for e in strategy().validate_resize(new, old)] == [
        'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'
    ]


def test_a_binding_names_a_node() -> None:
    assert validate_binding({"target": {"kind": "Node", "name": "n1"}}) == []
    assert [str(e) for e in validate_binding({"target": {"kind": "Pod"}})] == [
        'target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"',
        "target.name: Required value",
    ]

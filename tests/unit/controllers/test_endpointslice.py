from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.meta import Object, clone, name_of
from pybernetes.controllers.endpoints import plan as endpoints
from pybernetes.controllers.endpointslice.packing import Changes
from pybernetes.controllers.endpointslice.plan import plan
from pybernetes.controllers.endpointslice.triggers import TriggerTimes
from pybernetes.controllers.endpointslicemirroring import plan as mirroring
from tests.unit.controllers.objects import NOW, pod

NODE: Object = {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}}


def node(name: str) -> Object | None:
    return NODE if name == "n1" else None


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "uid": "uid-svc", "labels": {"team": "a"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.7",
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            **spec,
        },
    }


class Slices:
    """The slices as the server would hold them."""

    def __init__(self) -> None:
        self.slices: dict[str, Object] = {}
        self._serial = itertools.count()

    def apply(self, changes: Changes) -> None:
        for slice_ in changes.delete:
            del self.slices[name_of(slice_)]
        for slice_ in changes.create:
            slice_ = clone(slice_)
            slice_["metadata"]["name"] = f"{slice_['metadata']['generateName']}{next(self._serial)}"
            self.slices[name_of(slice_)] = slice_
        for slice_ in changes.update:
            assert name_of(slice_) in self.slices
            self.slices[name_of(slice_)] = clone(slice_)

    def sync(self, svc: Object, pods: list[Object]) -> Changes:
        changes = plan(svc, pods, node, list(self.slices.values())).changes
        self.apply(changes)
        return changes

    @property
    def endpoints(self) -> list[Object]:
        return [e for s in self.slices.values() for e in s["endpoints"]]


def test_one_ready_pod_by_the_letter() -> None:
    world = Slices()
    world.sync(service(), [pod("a", ip="10.244.0.5")])
    (slice_,) = world.slices.values()
    assert slice_["metadata"]["generateName"] == "web-"
    assert slice_["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert slice_["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": "web",
            "uid": "uid-svc",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert slice_["addressType"] == "IPv4"
    assert slice_["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert slice_["endpoints"] == [
        {
            "addresses": ["10.244.0.5"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "n1",
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a"},
            "zone": "z1",
        }
    ]


def conditions(svc: Object, p: Object) -> dict[str, bool]:
    world = Slices()
    world.sync(svc, [p])
    (endpoint,) = world.endpoints
    return endpoint["conditions"]  # type: ignore[no-any-return]


def test_conditions() -> None:
    ip = "10.244.0.5"
    unready = conditions(service(), pod("a", ip=ip, ready=False))
    assert unready == {"ready": False, "serving": False, "terminating": False}
    leaving = conditions(service(), pod("a", ip=ip, deleting=True))
    assert leaving == {"ready": False, "serving": True, "terminating": True}
    tolerant = service(publishNotReadyAddresses=True)
    assert conditions(tolerant, pod("a", ip=ip, ready=False))["ready"]


def test_who_is_no_endpoint() -> None:
    world = Slices()
    pods = [pod("no-ip"), pod("done", ip="10.244.0.6", phase="Succeeded"), pod("lost", ip="10.244.0.7", node="gone")]
    planned = plan(service(), pods, node, [])
    world.apply(planned.changes)
    assert planned.skipped == ("lost",)
    # A Service without endpoints keeps one empty slice.
    (slice_,) = world.slices.values()
    assert slice_["endpoints"] == [] and slice_["ports"] == []
    assert not world.sync(service(), pods)
    world.sync(service(), [pod("a", ip="10.244.0.5")])
    assert len(world.slices) == 1 and len(world.endpoints) == 1
    world.sync(service(), [])
    assert len(world.slices) == 1 and not world.endpoints


def test_headless_with_hostname_and_without_ports() -> None:
    svc = service(clusterIP="None", ports=[])
    world = Slices()
    world.sync(svc, [pod("a", ip="10.244.0.5", hostname="a", subdomain="web")])
    (slice_,) = world.slices.values()
    assert slice_["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert slice_["endpoints"][0]["hostname"] == "a"


def test_named_ports_split_pods_by_number() -> None:
    svc = service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}])

    def serving(name: str, port: int, ip: str) -> Object:
        return pod(name, ip=ip, containers=[{"name": "c", "ports": [{"name": "web", "containerPort": port}]}])

    world = Slices()
    world.sync(svc, [serving("a", 8080, "10.244.0.5"), serving("b", 9090, "10.244.0.6")])
    assert sorted(s["ports"][0]["port"] for s in world.slices.values()) == [8080, 9090]


PODS = st.dictionaries(st.integers(0, 260), st.sampled_from(["ready", "unready", "leaving"]), max_size=260)


@settings(max_examples=60, deadline=None)
@given(st.lists(PODS, min_size=1, max_size=4))
def test_slices_hold_exactly_the_pods_with_few_changes(states: list[dict[int, str]]) -> None:
    world = Slices()
    before: set[int] = set()
    for state in states:
        pods = [
            pod(f"p{i}", ip=f"10.244.{i // 250}.{i % 250 + 1}", ready=s != "unready", deleting=s == "leaving")
            for i, s in state.items()
        ]
        changes = world.sync(service(), pods)
        assert sorted(e["targetRef"]["name"] for e in world.endpoints) == sorted(name_of(p) for p in pods)
        assert all(0 < len(s["endpoints"]) <= 100 or len(world.slices) == 1 for s in world.slices.values())
        # Never more new slices than the new endpoints need.
        assert len(changes.create) <= max(1, -(-len(set(state) - before) // 100))
        assert not world.sync(service(), pods)
        before = set(state)


def test_one_pod_more_touches_one_slice() -> None:
    world = Slices()
    pods = [pod(f"p{i}", ip=f"10.244.{i // 250}.{i % 250 + 1}") for i in range(250)]
    world.sync(service(), pods)
    assert sorted(len(s["endpoints"]) for s in world.slices.values()) == [50, 100, 100]
    changes = world.sync(service(), [*pods, pod("new", ip="10.244.9.9")])
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    changes = world.sync(service(), [*pods[1:], pod("new", ip="10.244.9.9")])
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)


def test_labels_follow_the_service_and_foreign_slices_go() -> None:
    world = Slices()
    world.sync(service(), [pod("a", ip="10.244.0.5")])
    svc = service()
    svc["metadata"]["labels"] = {"team": "b"}
    assert len(world.sync(svc, [pod("a", ip="10.244.0.5")]).update) == 1
    svc["metadata"]["uid"] = "made-again"
    changes = world.sync(svc, [pod("a", ip="10.244.0.5")])
    assert len(changes.delete) == 1 and len(changes.create) == 1


def test_traffic_distribution_gives_hints() -> None:
    world = Slices()
    world.sync(service(trafficDistribution="PreferClose"), [pod("a", ip="10.244.0.5")])
    assert world.endpoints[0]["hints"] == {"forZones": [{"name": "z1"}]}


def test_trigger_times() -> None:
    times, svc = TriggerTimes(), service()
    svc["metadata"]["creationTimestamp"] = "2023-11-14T22:00:00Z"
    ready = pod("a", ready_at=NOW)
    assert times.changed_at(svc, [ready]) == "2023-11-14T22:13:20Z"
    assert times.changed_at(svc, [ready]) == ""
    assert times.changed_at(svc, [ready, pod("b", ready_at=NOW + 5), pod("c", ready_at=NOW + 9)]) == (
        "2023-11-14T22:13:25Z"
    )


def test_endpoints_pack_by_ports() -> None:
    svc = service(
        ports=[{"name": "http", "port": 80, "targetPort": 8080}, {"name": "m", "port": 90, "targetPort": "m"}]
    )
    with_m = {"containers": [{"name": "c", "ports": [{"name": "m", "containerPort": 9000}]}]}
    pods = [
        pod("b", ip="10.244.0.6", **with_m),
        pod("a", ip="10.244.0.5", **with_m),
        pod("plain", ip="10.244.0.7"),
        pod("unready", ip="10.244.0.8", ready=False),
        pod("leaving", ip="10.244.0.9", deleting=True),
    ]
    made = endpoints.plan(svc, pods, None, "2023-11-14T22:13:20Z")
    assert made is not None
    assert made["metadata"] == {
        "name": "web",
        "namespace": "default",
        "labels": {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"},
        "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2023-11-14T22:13:20Z"},
    }
    http, m = {"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "m", "port": 9000, "protocol": "TCP"}
    shapes = [
        ([a["ip"] for a in s.get("addresses", ())], [a["ip"] for a in s.get("notReadyAddresses", ())], s["ports"])
        for s in made["subsets"]
    ]
    assert (["10.244.0.5", "10.244.0.6"], [], [http, m]) in [(a, n, sorted(p, key=str)) for a, n, p in shapes]
    assert (["10.244.0.7"], ["10.244.0.8"], [http]) in shapes
    assert len(shapes) == 2
    assert endpoints.plan(svc, pods, made, "2023-11-14T22:13:50Z") is None
    emptied = endpoints.plan(svc, [], made, "")
    assert emptied is not None and "subsets" not in emptied and "annotations" not in emptied["metadata"]


def test_endpoints_are_cut_at_a_thousand() -> None:
    pods = [pod(f"p{i}", ip=f"10.244.{i // 250}.{i % 250 + 1}", ready=i >= 300) for i in range(1200)]
    made = endpoints.plan(service(), pods, None, "")
    assert made is not None
    (subset,) = made["subsets"]
    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (900, 100)
    assert made["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}


def test_mirroring() -> None:
    svc = service(selector=None)
    written: Object = {
        "metadata": {
            "name": "web", "namespace": "default", "uid": "uid-ep", "labels": {"x": "y"},
            "annotations": {"note": "1", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "subsets": [
            {
                "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
                "notReadyAddresses": [{"ip": "192.0.2.2"}],
                "ports": [{"name": "p", "port": 9376}],
            }
        ],
    }  # fmt: skip
    assert mirroring.is_mirrored(written, svc)
    assert not mirroring.is_mirrored(written, service())
    assert not mirroring.is_mirrored(written, None)
    world = Slices()
    world.apply(mirroring.plan(written, []))
    by_family = {s["addressType"]: s for s in world.slices.values()}
    assert [(e["addresses"], e["conditions"]) for e in by_family["IPv4"]["endpoints"]] == [
        (["192.0.2.1"], {"ready": True}),
        (["192.0.2.2"], {"ready": False}),
    ]
    assert by_family["IPv6"]["ports"] == [{"name": "p", "port": 9376, "protocol": "TCP"}]
    assert by_family["IPv4"]["metadata"]["annotations"] == {"note": "1"}
    assert by_family["IPv4"]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == mirroring.MANAGED_BY
    assert not mirroring.plan(written, list(world.slices.values()))
    written["subsets"] = []
    assert len(mirroring.plan(written, list(world.slices.values())).delete) == 2
    written["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true"
    assert not mirroring.is_mirrored(written, svc)

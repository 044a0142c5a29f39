"""The API server's pure parts: encoding, paths, negotiation, continue tokens, options, conversions, deletion plans."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import resources as r
from pybernetes.api.errors import ApiError, BadRequest, Invalid, NotAcceptable
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, clone
from pybernetes.apiserver import continue_tokens, conversion, encoding, negotiation, options, paths
from pybernetes.apiserver.deletion import Mark, Pending, Remove, plan_deletion
from pybernetes.apiserver.identity import Identities
from pybernetes.apiserver.options import DeleteOptions
from pybernetes.apiserver.served import ServedKinds
from pybernetes.apiserver.services import Pool
from pybernetes.apiserver.subresources import VolumeStatus
from pybernetes.lib.clock import ManualClock

KINDS = ServedKinds(strategy_for)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


# ---- encoding


@given(
    st.dictionaries(st.text(), json_values, max_size=4),
    st.dictionaries(st.text(min_size=1), json_values, max_size=4),
    st.integers(1, 2**60),
    st.integers(1, 2**60),
)
def test_versions_are_spliced_and_replaced(rest: dict[str, Any], meta: dict[str, Any], first: int, second: int) -> None:
    meta = {k: v for k, v in meta.items() if k != "resourceVersion"} | {"name": 'a"metadata":{"x'}
    rest = {k: v for k, v in rest.items() if k not in ("kind", "apiVersion", "metadata")}
    obj = {**rest, "metadata": {**meta, "resourceVersion": "old"}, "kind": "K", "apiVersion": "g/v1"}
    stored = encoding.encode_stored("g/v1", "K", obj)
    assert json.loads(stored) == {**obj, "metadata": meta}
    served = encoding.with_version(stored, first)
    assert json.loads(served) == {**obj, "metadata": {**meta, "resourceVersion": str(first)}}
    again = encoding.replace_version(served, second)
    assert json.loads(again) == {**obj, "metadata": {**meta, "resourceVersion": str(second)}}


def test_lists_are_joined() -> None:
    head = encoding.list_head("v1", "PodList", "7", "token", 3)
    listed = json.loads(encoding.join_list(head, [b'"a":1}', memoryview(b'"b":2}')]))
    assert listed == {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "7", "continue": "token", "remainingItemCount": 3},
        "items": [{"a": 1}, {"b": 2}],
    }
    assert json.loads(encoding.join_list(encoding.list_head("v1", "PodList", "7"), []))["items"] == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"data":{"kind":"Pod","apiVersion":"v1"}}',
        b'{"apiVersion": "v1", "metadata": {"name": "a"}, "kind": "Pod", "data": {"kind": "Pod", "apiVersion": "v1"}}',
    ],
)
def test_items_of_lists_are_untyped_however_they_were_stored(raw: bytes) -> None:
    prefix = encoding.typed_prefix(r.PODS)
    assert json.loads(b"{" + encoding.untyped(raw, prefix)) == {
        "metadata": {"name": "a"},
        "data": {"kind": "Pod", "apiVersion": "v1"},
    }


# ---- paths


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/api/v1/pods", (r.PODS, "", "", "")),
        ("/api/v1/namespaces/ns/pods", (r.PODS, "ns", "", "")),
        ("/api/v1/namespaces/ns/pods/", (r.PODS, "ns", "", "")),
        ("/api/v1/namespaces/ns/pods/p", (r.PODS, "ns", "p", "")),
        ("/api/v1/namespaces/ns/pods/p/log", (r.PODS, "ns", "p", "log")),
        ("/api/v1/namespaces", (r.NAMESPACES, "", "", "")),
        ("/api/v1/namespaces/ns", (r.NAMESPACES, "", "ns", "")),
        ("/api/v1/namespaces/ns/finalize", (r.NAMESPACES, "", "ns", "finalize")),
        ("/api/v1/namespaces/ns/status", (r.NAMESPACES, "", "ns", "status")),
        ("/api/v1/nodes/n/status", (r.NODES, "", "n", "status")),
        ("/apis/apps/v1/deployments", (r.DEPLOYMENTS, "", "", "")),
        ("/apis/apps/v1/namespaces/ns/deployments/d/scale", (r.DEPLOYMENTS, "ns", "d", "scale")),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab", (r.CLUSTERROLES, "", "a:b", "")),
    ],
)
def test_paths(path: str, wanted: tuple[Any, ...]) -> None:
    target = paths.parse(path, KINDS)
    assert (target.resource, target.namespace, target.name, target.subresource) == wanted


def test_proxy_paths_keep_their_rest() -> None:
    target = paths.parse("/api/v1/namespaces/ns/services/http:s:80/proxy/a/b%20c", KINDS)
    assert (target.name, target.subresource, target.subpath) == ("http:s:80", "proxy", "/a/b c")
    assert paths.parse("/api/v1/nodes/n/proxy/", KINDS).subpath == "/"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/apis/apps",
        "/apis/apps/v1",
        "/nothing/at/all",
        "/apis/none/v1/x",
        "",
        "//",
        "/api//pods",
    ],
)
def test_paths_of_no_resource(path: str) -> None:
    target = paths.parse(path, KINDS)
    assert target.resource is None and not target.known_version


@given(st.text(alphabet="/ab%2Fpodsnamespcv1", max_size=60))
def test_no_path_breaks_the_parser(path: str) -> None:
    paths.parse("/api/v1/" + path, KINDS)
    paths.parse(path, KINDS)


def test_resources_come_and_go() -> None:
    kinds = ServedKinds(strategy_for)
    custom = r.Resource("example.com", "v1", "chairs", "Chair", "chair", True)
    before = kinds.generation
    kinds.add(custom)
    assert kinds.generation > before
    assert paths.parse("/apis/example.com/v1/chairs", kinds).resource is custom
    kinds.remove(custom)
    assert not paths.parse("/apis/example.com/v1/chairs", kinds).known_version


# ---- negotiation


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", ("application/json", "")),
        ("text/html, application/json;q=0.1", ("application/json", "")),
        ("application/json;q=0.2, application/yaml;q=0.9", ("application/yaml", "")),
        ("application/json;as=Table;g=meta.k8s.io;v=v1,application/json", ("application/json", "Table")),
        ("application/json;as=Table;g=other;v=v1,application/json", ("application/json", "")),
        ("application/json;as=Table;g=meta.k8s.io;v=v9,application/json", ("application/json", "")),
        ("*/*", ("application/json", "")),
        ("application/json;stream=watch", ("application/json", "")),
    ],
)
def test_negotiation(accept: str, wanted: tuple[str, str]) -> None:
    media = negotiation.negotiate(accept)
    assert (media.type, media.transform) == wanted


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/cbor", ","])
def test_nothing_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        negotiation.negotiate(accept)


def test_gzip() -> None:
    assert negotiation.accepts_gzip("deflate, gzip;q=0.5") and negotiation.accepts_gzip("GZIP")
    assert not negotiation.accepts_gzip("gzip;q=0") and not negotiation.accepts_gzip("identity")


# ---- continue tokens and options


@given(st.integers(1, 2**60) | st.just(-1), st.from_regex(r"[a-z]+(/[a-z.]*[a-z])?\0", fullmatch=True))
def test_continue_tokens(revision: int, start: str) -> None:
    assert continue_tokens.decode(continue_tokens.encode(revision, start)) == (revision, start)


@given(st.text())
def test_no_token_breaks_the_decoder(token: str) -> None:
    try:
        continue_tokens.decode(token)
    except BadRequest:
        pass
    else:
        pytest.fail("nobody guesses a token")


def test_delete_options() -> None:
    found, dry = options.delete_options(
        {"gracePeriodSeconds": "5", "propagationPolicy": "Orphan", "dryRun": "All"}, None
    )
    assert (found.grace_period_seconds, found.propagation_policy, dry) == (5, "Orphan", True)
    found, dry = options.delete_options({"gracePeriodSeconds": "5"}, {"gracePeriodSeconds": 7})
    assert (found.grace_period_seconds, dry) == (7, False)
    with pytest.raises(ApiError):
        options.delete_options({"gracePeriodSeconds": "x"}, None)
    with pytest.raises(Invalid):
        options.delete_options({}, {"dryRun": ["Some"]})


# ---- conversions


@given(
    st.integers(1, 100),
    st.none() | st.integers(1, 99),
    st.lists(st.sampled_from(["memory", "requests"]), max_size=2),
    st.none() | st.just({"scaleDown": {"stabilizationWindowSeconds": 5}}),
)
def test_autoscalers_survive_the_way_through_v1(
    most: int, cpu: int | None, others: list[str], behavior: dict[str, Any] | None
) -> None:
    metrics: list[dict[str, Any]] = []
    if cpu is not None:
        target = {"type": "Utilization", "averageUtilization": cpu}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    for name in others:
        target = {"type": "AverageValue", "averageValue": "5"}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": name}, "target": target}})
    obj: dict[str, Any] = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "annotations": {"mine": "kept"}},
        "spec": {"maxReplicas": most, "scaleTargetRef": {"kind": "Deployment", "name": "d"}},
        "status": {"conditions": [{"type": "AbleToScale", "status": "True"}]},
    }
    if metrics:
        obj["spec"]["metrics"] = metrics
    if behavior:
        obj["spec"]["behavior"] = behavior
    v1 = conversion.from_storage(r.HORIZONTALPODAUTOSCALERS_V1, obj)
    assert v1["apiVersion"] == "autoscaling/v1"
    assert v1["spec"].get("targetCPUUtilizationPercentage") == cpu
    if not metrics:
        target = {"type": "Utilization", "averageUtilization": 80}
        obj["spec"]["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert conversion.to_storage(r.HORIZONTALPODAUTOSCALERS_V1, v1) == obj


# ---- deletion plans


def planned(
    obj: dict[str, Any], now: float = 1_700_000_000.0, resource: r.Resource = r.CONFIGMAPS, **given: Any
) -> Any:
    shared = orjson.dumps(obj)
    plan = plan_deletion(resource, strategy_for(resource), obj, DeleteOptions(**given), now)
    assert orjson.dumps(obj) == shared, "a plan leaves the object alone"
    return plan


def thing(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", **meta}}


def test_plans_of_plain_objects() -> None:
    assert planned(thing()) == Remove()
    plan = planned(thing(finalizers=["f/x"], generation=3))
    assert isinstance(plan, Mark)
    meta = plan.obj["metadata"]
    assert meta["deletionTimestamp"] == "2023-11-14T22:13:20Z" and meta["deletionGracePeriodSeconds"] == 0
    assert meta["generation"] == 4
    assert planned(plan.obj) == Pending()
    assert planned({"metadata": {**meta, "finalizers": []}}) == Remove()


@given(
    st.lists(st.sampled_from(["orphan", "foregroundDeletion", "x/y", "z/w"]), unique=True, max_size=3),
    st.sampled_from([None, "Orphan", "Foreground", "Background"]),
    st.booleans(),
)
def test_propagation_sets_its_finalizer_and_no_other(finalizers: list[str], policy: str | None, deleting: bool) -> None:
    meta: dict[str, Any] = {"finalizers": finalizers} if finalizers else {}
    if deleting:
        meta |= {"deletionTimestamp": "2023-11-14T22:13:00Z", "deletionGracePeriodSeconds": 0}
    plan = planned(thing(**meta), propagation_policy=policy)
    wanted = [f for f in finalizers if f not in ("orphan", "foregroundDeletion")]
    if policy is None:
        present = [f for f in finalizers if f in ("orphan", "foregroundDeletion")]
        wanted += present[:1]
    elif policy != "Background":
        wanted.append({"Orphan": "orphan", "Foreground": "foregroundDeletion"}[policy])
    if not wanted:
        assert plan == Remove()
    elif isinstance(plan, Pending):
        assert deleting and set(wanted) == set(finalizers)
    else:
        assert isinstance(plan, Mark)
        assert set(plan.obj["metadata"]["finalizers"]) == set(wanted)


@given(st.none() | st.integers(-5, 60), st.integers(0, 60), st.booleans(), st.booleans())
def test_plans_of_pods(requested: int | None, period: int, on_node: bool, finalizer: bool) -> None:
    pod = thing(finalizers=["x/y"]) if finalizer else thing()
    pod["spec"] = {"terminationGracePeriodSeconds": period, **({"nodeName": "n"} if on_node else {})}
    plan = planned(pod, resource=r.PODS, grace_period_seconds=requested)
    wanted = period if requested is None else 1 if requested < 0 else requested
    if not on_node:
        wanted = 0
    if wanted == 0 and not finalizer:
        assert plan == Remove()
        return
    assert isinstance(plan, Mark) and plan.obj["metadata"]["deletionGracePeriodSeconds"] == wanted
    if wanted > 1:
        shorter = planned(plan.obj, resource=r.PODS, grace_period_seconds=wanted - 1)
        assert isinstance(shorter, Mark) and shorter.obj["metadata"]["deletionGracePeriodSeconds"] == wanted - 1
        assert planned(plan.obj, resource=r.PODS, grace_period_seconds=wanted + 1) == Pending()
        assert planned(plan.obj, resource=r.PODS) == Pending()


def test_events_know_no_propagation() -> None:
    assert planned(thing(), resource=r.EVENTS, propagation_policy="Orphan") == Remove()


# ---- names and numbers


def test_identities_are_uuids_and_differ() -> None:
    clock = ManualClock()
    identities = Identities(clock)
    found = {identities.uid() for _ in range(1000)}
    assert len(found) == 1000
    for uid in found:
        parts = uid.split("-")
        assert [len(p) for p in parts] == [8, 4, 4, 4, 12] and parts[2][0] == "4" and parts[3][0] in "89ab"
    assert identities.now() == "2023-11-14T22:13:20Z"
    clock.advance(1.5)
    assert identities.now() == "2023-11-14T22:13:21Z"


@given(st.lists(st.sampled_from(["choose", "release", "use", "unuse"]), max_size=60), st.integers(1, 12))
def test_a_pool_never_gives_twice(steps: list[str], size: int) -> None:
    pool = Pool(100, 99 + size, 4)
    held: list[int] = []
    used: list[int] = []
    for step in steps:
        if step == "choose":
            value = pool.choose()
            assert (value is None) == (len(set(held) | set(used)) == size)
            if value is not None:
                assert value in pool and value not in held and value not in used
                held.append(value)
        elif step == "release" and held:
            pool.let_go(held.pop())
        elif step == "use" and held:
            value = held.pop()
            pool.used([value])
            pool.let_go(value)
            used.append(value)
        elif step == "unuse" and used:
            pool.unused([used.pop()])
    assert len(pool) == len(held) + len(used)


def test_every_resource_has_a_strategy() -> None:
    for resource in KINDS:
        assert isinstance(KINDS.strategy(resource), Strategy)


def test_a_volumes_phase_has_a_time() -> None:
    whole = strategy_for(r.PERSISTENTVOLUMES)
    old: Object = {"metadata": {"name": "v", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    whole.prepare_for_create(old)
    assert old["status"] == {"phase": "Pending", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"}
    status = VolumeStatus(whole, 1767225600.0 + 60)
    for told, kept in ((None, "2026-01-01T00:01:00Z"), ("2026-01-01T00:00:30Z", "2026-01-01T00:00:30Z")):
        new = clone(old)
        new["status"]["phase"] = "Available"
        if told:
            new["status"]["lastPhaseTransitionTime"] = told
        status.prepare_for_status_update(new, old)
        assert new["status"] == {"phase": "Available", "lastPhaseTransitionTime": kept}
    same = clone(old)
    status.prepare_for_status_update(same, old)
    assert same["status"] == old["status"]

"""LimitRanger and ResourceQuota."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import errors
from pybernetes.api.meta import Object, clone
from pybernetes.api.quantity import Quantity, parse
from pybernetes.api.resources import (
    CONFIGMAPS,
    EVENTS,
    LIMITRANGES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    RESOURCEQUOTAS,
    SERVICES,
)
from pybernetes.apiserver.admission.limit_ranger import LimitRanger
from pybernetes.apiserver.admission.resource_quota import ResourceQuota, plan_charges
from pybernetes.client.interface import ObjectList
from pybernetes.lib.clock import ManualClock
from tests.unit.apiserver.security.admitting import admit, pod, request
from tests.unit.apiserver.security.memory_reader import MemoryReader


def container(name: str = "c", **resources: dict[str, str]) -> Object:
    return {"name": name, "resources": resources}


# LimitRanger

MAX_UNSAID = "maximum cpu usage per Container is 1.  No limit is specified"


def limit(reader: MemoryReader, **item: Any) -> LimitRanger:
    reader.make(LIMITRANGES, "limits", "shop", spec={"limits": [{"type": "Container", **item}]})
    return LimitRanger(reader)


async def test_defaults(reader: MemoryReader) -> None:
    plugin = limit(reader, default={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "500m", "memory": "512Mi"})
    wanted = pod(containers=[container("a"), container("b", requests={"cpu": "2"}, limits={"cpu": "3"})])
    made = await admit(plugin, request("CREATE", PODS, wanted))
    a, b = (c["resources"] for c in made["spec"]["containers"])
    assert a == {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    assert b == {"requests": {"cpu": "2", "memory": "512Mi"}, "limits": {"cpu": "3", "memory": "1Gi"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container a; cpu, memory limit for container a; "
        "memory request for container b; memory limit for container b"
    )


@pytest.mark.parametrize(
    ("item", "resources", "text"),
    [
        ({"min": {"cpu": "1"}}, {}, "minimum cpu usage per Container is 1.  No request is specified"),
        ({"min": {"cpu": "1"}}, {"requests": {"cpu": "9m"}}, "minimum cpu usage per Container is 1, but request is 9m"),
        ({"max": {"cpu": "1"}}, {"requests": {"cpu": "1m"}}, MAX_UNSAID),
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, "maximum cpu usage per Container is 1, but limit is 2"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
        (
            {"min": {"cpu": "1"}, "max": {"memory": "1Gi"}},
            {"requests": {"cpu": "1m"}, "limits": {"memory": "2Gi"}},
            "[minimum cpu usage per Container is 1, but request is 1m, "
            "maximum memory usage per Container is 1Gi, but limit is 2Gi]",
        ),
    ],
)  # fmt: skip
async def test_outside_of_limits(reader: MemoryReader, item: Object, resources: Any, text: str) -> None:
    plugin = limit(reader, **item)
    with pytest.raises(errors.Forbidden) as refused:
        await admit(plugin, request("CREATE", PODS, pod(containers=[container(**resources)])))
    assert refused.value.message == f'pods "web" is forbidden: {text}'


async def test_limits_of_pods_and_claims(reader: MemoryReader) -> None:
    plugin = limit(reader, type="Pod", max={"memory": "1Gi"})
    wanted = pod(containers=[container(n, limits={"memory": "600Mi"}, requests={"memory": "1Mi"}) for n in "ab"])
    with pytest.raises(errors.Forbidden, match="maximum memory usage per Pod is 1Gi, but limit is 1200Mi"):
        await admit(plugin, request("CREATE", PODS, wanted))
    await admit(plugin, request("UPDATE", PODS, wanted, old=wanted))
    plugin = limit(reader, type="PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "2Gi"})
    for size, word in (("500Mi", "minimum"), ("3Gi", "maximum")):
        claim: Object = {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}}
        with pytest.raises(
            errors.Forbidden, match=f"{word} storage usage per PersistentVolumeClaim is .*, but request is {size}"
        ):
            await admit(plugin, request("CREATE", PERSISTENTVOLUMECLAIMS, claim))


# ResourceQuota


class QuotaClient:
    """Writes quotas as the store does: by resourceVersion; each write takes a turn of the loop."""

    def __init__(self, reader: MemoryReader, *, lag: bool = False) -> None:
        self.reader = reader
        self.writes = 0
        self.stored = {q["metadata"]["name"]: q for q in reader.list(RESOURCEQUOTAS)}
        self.lag = lag

    async def update(self, resource: Any, obj: Object, *, subresource: str = "") -> Object:
        await asyncio.sleep(0)
        assert subresource == "status"
        current = self.stored[obj["metadata"]["name"]]
        if current["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise errors.conflict("", "resourcequotas", "q", errors.MODIFIED)
        self.writes += 1
        new = clone(obj)
        if self.lag:
            new["metadata"]["resourceVersion"] = str(int(new["metadata"]["resourceVersion"]) + 1)
        else:
            self.reader.put(RESOURCEQUOTAS, new)
        self.stored[obj["metadata"]["name"]] = new
        return new

    async def list(self, resource: Any, namespace: str = "", **_: Any) -> ObjectList:
        return ObjectList(list(self.stored.values()), "0")


def quota(
    reader: MemoryReader, hard: dict[str, str], used: dict[str, str] | None = None, name: str = "q", **spec: Any
) -> Object:
    used = dict.fromkeys(hard, "0") if used is None else used
    return reader.make(RESOURCEQUOTAS, name, "shop", spec={"hard": hard, **spec}, status={"hard": hard, "used": used})


def plugin_for(reader: MemoryReader, **more: Any) -> tuple[ResourceQuota, QuotaClient]:
    client = QuotaClient(reader, **more)
    return ResourceQuota(reader, client, ManualClock()), client  # type: ignore[arg-type]


def used(reader: MemoryReader, name: str = "q") -> Any:
    found = reader.get(RESOURCEQUOTAS, "shop", name)
    assert found is not None
    return found["status"]["used"]


async def test_a_creation_is_charged(reader: MemoryReader) -> None:
    quota(reader, {"pods": "2", "requests.cpu": "1", "configmaps": "5"})
    plugin, _ = plugin_for(reader)
    wanted = pod(containers=[container(requests={"cpu": "400m"})])
    await admit(plugin, request("CREATE", PODS, wanted))
    assert used(reader) == {"pods": "1", "requests.cpu": "400m", "configmaps": "0"}
    await admit(plugin, request("CREATE", PODS, wanted, dry_run=True))
    assert used(reader)["pods"] == "1"
    await admit(plugin, request("CREATE", PODS, wanted))
    with pytest.raises(errors.Forbidden) as refused:
        await admit(plugin, request("CREATE", PODS, wanted))
    assert refused.value.message == (
        'pods "web" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=400m, '
        "used: pods=2,requests.cpu=800m, limited: pods=2,requests.cpu=1"
    )


async def test_what_a_quota_counts_must_be_said(reader: MemoryReader) -> None:
    quota(reader, {"limits.cpu": "1", "requests.memory": "1Gi"})
    plugin, client = plugin_for(reader)
    wanted = pod(containers=[container("a"), container("b", limits={"cpu": "1"})])
    with pytest.raises(errors.Forbidden) as refused:
        await admit(plugin, request("CREATE", PODS, wanted))
    assert refused.value.message == (
        'pods "web" is forbidden: failed quota: q: must specify limits.cpu for: a; requests.memory for: a,b'
    )
    assert client.writes == 0


async def test_scopes(reader: MemoryReader) -> None:
    quota(reader, {"pods": "0"}, scopes=["BestEffort"])
    plugin, _ = plugin_for(reader)
    await admit(plugin, request("CREATE", PODS, pod(containers=[container(requests={"cpu": "1"})])))
    with pytest.raises(errors.Forbidden, match="exceeded quota"):
        await admit(plugin, request("CREATE", PODS, pod()))


async def test_counts_of_objects_and_updates(reader: MemoryReader) -> None:
    quota(reader, {"count/configmaps": "1", "services.nodeports": "2"})
    plugin, client = plugin_for(reader)
    named: Object = {"metadata": {"name": "x"}}
    await admit(plugin, request("CREATE", CONFIGMAPS, named))
    with pytest.raises(errors.Forbidden, match="requested: count/configmaps=1, used: count/configmaps=1"):
        await admit(plugin, request("CREATE", CONFIGMAPS, named))
    await admit(plugin, request("UPDATE", CONFIGMAPS, named, old=named))
    await admit(plugin, request("CREATE", EVENTS, named))

    def service(ports: int, kind: str = "NodePort") -> Object:
        return {**named, "spec": {"type": kind, "ports": [{"port": n} for n in range(ports)]}}

    await admit(plugin, request("UPDATE", SERVICES, service(2), old=service(2, "ClusterIP")))
    assert used(reader)["services.nodeports"] == "2"
    writes = client.writes
    await admit(plugin, request("UPDATE", SERVICES, service(1), old=service(2)))
    assert client.writes == writes
    with pytest.raises(errors.Forbidden, match=r"services\.nodeports"):
        await admit(plugin, request("UPDATE", SERVICES, service(2), old=service(1)))


async def test_an_uncounted_quota(reader: MemoryReader) -> None:
    quota(reader, {"pods": "1"}, used={})
    plugin, _ = plugin_for(reader)
    with pytest.raises(errors.Forbidden, match="status unknown for quota: q, resources: pods"):
        await admit(plugin, request("CREATE", PODS, pod()))


@pytest.mark.parametrize("lag", [False, True])
async def test_nobody_gets_past_a_quota_by_haste(reader: MemoryReader, lag: bool) -> None:
    """Many at once, also while the watch cache is behind: exactly as many as fit."""
    quota(reader, {"pods": "7"})
    plugin, client = plugin_for(reader, lag=lag)
    answers = await asyncio.gather(
        *(admit(plugin, request("CREATE", PODS, pod(f"p{n}"))) for n in range(40)), return_exceptions=True
    )
    refusals = [a for a in answers if isinstance(a, errors.Forbidden)]
    assert len(refusals) == 33 and all("exceeded quota" in r.message for r in refusals)
    assert client.stored["q"]["status"]["used"]["pods"] == "7"
    assert plugin._locks == {}


async def test_another_server_charges_too(reader: MemoryReader) -> None:
    quota(reader, {"pods": "2"})
    plugin, client = plugin_for(reader)
    other = clone(client.stored["q"])
    other["metadata"]["resourceVersion"] = "99"
    other["status"]["used"]["pods"] = "1"
    client.stored["q"] = other
    await admit(plugin, request("CREATE", PODS, pod()))
    assert client.stored["q"]["status"]["used"]["pods"] == "2"


amounts = st.integers(0, 5)


@given(amounts, amounts, amounts)
def test_a_plan_never_exceeds(hard: int, had: int, asked: int) -> None:
    reader = MemoryReader()
    quota(reader, {"requests.cpu": str(hard)}, used={"requests.cpu": str(had)})
    wanted = request("CREATE", PODS, pod(containers=[container(requests={"cpu": str(asked)})]))
    try:
        charged = plan_charges(wanted, list(reader.list(RESOURCEQUOTAS)), 0)
    except errors.Forbidden:
        assert had + asked > hard
        return
    if asked:
        assert had + asked <= hard
        assert parse(charged[0]["status"]["used"]["requests.cpu"]) == Quantity.of(had + asked)
    else:
        assert charged == []

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
from pybernetes.apiserver.interfaces import AdmissionRequest
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


def quota(
    reader: MemoryReader, hard: dict[str, str], used: dict[str, str] | None = None, name: str = "q", **spec: Any
) -> Object:
    used = dict.fromkeys(hard, "0") if used is None else used
    return reader.make(RESOURCEQUOTAS, name, "shop", spec={"hard": hard, **spec}, status={"hard": hard, "used": used})


async def charge(plugin: ResourceQuota, reader: MemoryReader, asked: AdmissionRequest) -> bool:
    """Admits as the registry does: whether there was anything to write with the object."""
    await admit(plugin, asked)
    if asked.charge is None:
        return False
    riders = asked.charge.riders
    for rider in riders:
        reader.put(rider.resource, rider.obj)
    asked.charge.release()
    return bool(riders)


def used(reader: MemoryReader, name: str = "q") -> Any:
    found = reader.get(RESOURCEQUOTAS, "shop", name)
    assert found is not None
    return found["status"]["used"]


async def test_a_creation_is_charged(reader: MemoryReader) -> None:
    quota(reader, {"pods": "2", "requests.cpu": "1", "configmaps": "5"})
    plugin = ResourceQuota(reader, ManualClock())
    wanted = pod(containers=[container(requests={"cpu": "400m"})])
    await charge(plugin, reader, request("CREATE", PODS, wanted))
    assert used(reader) == {"pods": "1", "requests.cpu": "400m", "configmaps": "0"}
    await charge(plugin, reader, request("CREATE", PODS, wanted, dry_run=True))
    assert used(reader)["pods"] == "1"
    await charge(plugin, reader, request("CREATE", PODS, wanted))
    with pytest.raises(errors.Forbidden) as refused:
        await charge(plugin, reader, request("CREATE", PODS, wanted))
    assert refused.value.message == (
        'pods "web" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=400m, '
        "used: pods=2,requests.cpu=800m, limited: pods=2,requests.cpu=1"
    )


async def test_what_a_quota_counts_must_be_said(reader: MemoryReader) -> None:
    quota(reader, {"limits.cpu": "1", "requests.memory": "1Gi"})
    plugin = ResourceQuota(reader, ManualClock())
    wanted = pod(containers=[container("a"), container("b", limits={"cpu": "1"})])
    with pytest.raises(errors.Forbidden) as refused:
        await charge(plugin, reader, request("CREATE", PODS, wanted))
    assert refused.value.message == (
        'pods "web" is forbidden: failed quota: q: must specify limits.cpu for: a; requests.memory for: a,b'
    )


async def test_scopes(reader: MemoryReader) -> None:
    quota(reader, {"pods": "0"}, scopes=["BestEffort"])
    plugin = ResourceQuota(reader, ManualClock())
    await charge(plugin, reader, request("CREATE", PODS, pod(containers=[container(requests={"cpu": "1"})])))
    with pytest.raises(errors.Forbidden, match="exceeded quota"):
        await charge(plugin, reader, request("CREATE", PODS, pod()))


async def test_counts_of_objects_and_updates(reader: MemoryReader) -> None:
    quota(reader, {"count/configmaps": "1", "services.nodeports": "2"})
    plugin = ResourceQuota(reader, ManualClock())
    named: Object = {"metadata": {"name": "x"}}
    await charge(plugin, reader, request("CREATE", CONFIGMAPS, named))
    with pytest.raises(errors.Forbidden, match="requested: count/configmaps=1, used: count/configmaps=1"):
        await charge(plugin, reader, request("CREATE", CONFIGMAPS, named))
    await charge(plugin, reader, request("UPDATE", CONFIGMAPS, named, old=named))
    await charge(plugin, reader, request("CREATE", EVENTS, named))

    def service(ports: int, kind: str = "NodePort") -> Object:
        return {**named, "spec": {"type": kind, "ports": [{"port": n} for n in range(ports)]}}

    await charge(plugin, reader, request("UPDATE", SERVICES, service(2), old=service(2, "ClusterIP")))
    assert used(reader)["services.nodeports"] == "2"
    await charge(plugin, reader, request("UPDATE", SERVICES, service(1), old=service(2)))
    assert used(reader)["services.nodeports"] == "1"
    await charge(plugin, reader, request("UPDATE", SERVICES, service(2), old=service(1)))
    with pytest.raises(errors.Forbidden, match=r"services\.nodeports"):
        await charge(plugin, reader, request("UPDATE", SERVICES, service(3), old=service(2)))


async def test_an_uncounted_quota(reader: MemoryReader) -> None:
    quota(reader, {"pods": "1"}, used={})
    plugin = ResourceQuota(reader, ManualClock())
    with pytest.raises(errors.Forbidden, match="status unknown for quota: q, resources: pods"):
        await charge(plugin, reader, request("CREATE", PODS, pod()))


async def test_one_charge_at_a_time(reader: MemoryReader) -> None:
    quota(reader, {"pods": "1"})
    plugin = ResourceQuota(reader, ManualClock())
    first, second = request("CREATE", PODS, pod("a")), request("CREATE", PODS, pod("b"))
    await admit(plugin, first)
    waiting = asyncio.create_task(admit(plugin, second))
    await asyncio.sleep(0)
    assert not waiting.done() and first.charge is not None
    (rider,) = first.charge.riders
    reader.put(rider.resource, rider.obj)
    first.charge.release()
    first.charge.release()
    with pytest.raises(errors.Forbidden, match="exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"):
        await waiting
    assert plugin._locks == {}


async def test_a_lost_race_is_judged_again(reader: MemoryReader) -> None:
    made = quota(reader, {"pods": "2"})
    plugin = ResourceQuota(reader, ManualClock())
    asked = request("CREATE", PODS, pod())
    await admit(plugin, asked)
    assert asked.charge is not None
    for pods in ("1", "2"):
        other = clone(made)
        other["status"]["used"]["pods"] = pods
        reader.put(RESOURCEQUOTAS, other)
        if pods == "1":
            await asked.charge.renew()
            (rider,) = asked.charge.riders
            assert rider.obj["status"]["used"] == {"pods": "2"}
            assert str(rider.revision) == other["metadata"]["resourceVersion"]
    with pytest.raises(errors.Forbidden, match="exceeded quota"):
        await asked.charge.renew()


def test_no_quota_no_question(reader: MemoryReader) -> None:
    changes: list[str] = []
    plugin = ResourceQuota(reader, ManualClock())
    plugin.listen(lambda: changes.append("changed"))
    assert not plugin.handles("CREATE", PODS, "")
    quota(reader, {"pods": "1"})
    quota(reader, {"pods": "1"}, name="other")
    assert changes == ["changed"] and plugin.handles("CREATE", PODS, "")
    assert not plugin.handles("DELETE", PODS, "") and not plugin.handles("UPDATE", PODS, "status")
    reader.remove(RESOURCEQUOTAS, "shop", "q")
    reader.remove(RESOURCEQUOTAS, "shop", "other")
    assert changes == ["changed"] * 2 and not plugin.handles("CREATE", PODS, "")


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

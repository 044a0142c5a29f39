"""Classification by the default schemas, configuration that changes, widths of lists, and what is kept in the API."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api.meta import Object, clone, name_of
from pybernetes.api.resources import (
    CONFIGMAPS,
    ENDPOINTS,
    FLOWSCHEMAS,
    LEASES,
    NODES,
    PODS,
    PRIORITYLEVELCONFIGURATIONS,
    Resource,
)
from pybernetes.api.user import AUTHENTICATED, NODES_GROUP, SYSTEM_MASTERS, User, service_account_user
from pybernetes.apiserver.flowcontrol import keeper, policy, work
from pybernetes.apiserver.flowcontrol.control import FlowControl, RetryAfter
from pybernetes.apiserver.interfaces import RequestInfo
from tests.unit.apiserver.security.memory_reader import MemoryReader

ADMIN = User("admin", "", (SYSTEM_MASTERS, AUTHENTICATED))
SOMEBODY = User("somebody", "", (AUTHENTICATED,))
NODE = User("system:node:n1", "", (NODES_GROUP, AUTHENTICATED))
SCHEDULER = User("system:kube-scheduler", "", (AUTHENTICATED,))


def stored() -> MemoryReader:
    reader = MemoryReader()
    for resource, objects in (
        (PRIORITYLEVELCONFIGURATIONS, policy.priority_levels()),
        (FLOWSCHEMAS, policy.flow_schemas()),
    ):
        for i, obj in enumerate(objects):
            obj["metadata"]["uid"] = f"{name_of(obj)}-uid"
            obj["metadata"]["generation"] = 1
            reader.put(resource, obj)
            assert i < 100
    return reader


def control(reader: MemoryReader, **options: Any) -> FlowControl:
    made = FlowControl(reader, lambda resource: (1000, 1000), **options)
    made.start()
    return made


def asked(verb: str, user: User, resource: Resource | None = None, namespace: str = "", **more: Any) -> RequestInfo:
    return RequestInfo(verb, more.pop("path", ""), user, resource, namespace, **more)


def test_the_default_schemas_classify_as_upstream() -> None:
    flow_control = control(stored())
    account = service_account_user("kube-system", "replicaset-controller")
    elsewhere = service_account_user("shop", "web")
    for info, schema, level, distinguisher in (
        (asked("list", ADMIN, PODS), "exempt", "exempt", ""),
        (asked("get", SOMEBODY, path="/readyz"), "probes", "exempt", ""),
        (asked("get", SOMEBODY, path="/readyz/ping"), "probes", "exempt", ""),
        (asked("get", SOMEBODY, path="/version"), "global-default", "global-default", "somebody"),
        (
            asked("update", SCHEDULER, LEASES, "kube-system"),
            "system-leader-election", "leader-election", "system:kube-scheduler",
        ),
        (asked("list", SCHEDULER, LEASES, "kube-system"), "kube-scheduler", "workload-high", "kube-system"),
        (
            asked("update", service_account_user("kube-system", "endpoint-controller"), ENDPOINTS, "a"),
            "endpoint-controller", "workload-high", "system:serviceaccount:kube-system:endpoint-controller",
        ),
        (asked("update", account, LEASES, "kube-system"), "workload-leader-election", "leader-election", account.name),
        (asked("patch", NODE, NODES, name="n1", subresource="status"), "system-node-high", "node-high", NODE.name),
        (asked("get", NODE, PODS, "a"), "system-nodes", "system", NODE.name),
        (asked("create", account, PODS, "a"), "kube-system-service-accounts", "workload-high", "a"),
        (asked("create", elsewhere, PODS, "shop"), "service-accounts", "workload-low", elsewhere.name),
        (asked("create", SOMEBODY, PODS, "shop"), "global-default", "global-default", "somebody"),
        (asked("create", User("nobody"), PODS, "shop"), "catch-all", "catch-all", "nobody"),
    ):  # fmt: skip
        flow = flow_control.classify(info)
        assert (flow.schema.name, flow.level.name, flow.distinguisher) == (schema, level, distinguisher), info
        assert flow_control.classify(info) is flow, "remembered"
        assert f"FlowSchema-UID: {schema}-uid\r\n".encode() in flow.schema.headers
        assert f"PriorityLevel-UID: {level}-uid\r\n".encode() in flow.schema.headers


def test_the_default_levels_share_the_seats_as_upstream() -> None:
    levels = control(stored()).pool.levels
    found = {n: (level.nominal, level.own, level.most) for n, level in levels.items() if n != "exempt"}
    assert found == {
        "system": (74, 50, 600), "node-high": (98, 74, 600), "leader-election": (25, 25, 600),
        "workload-high": (98, 49, 600), "workload-low": (245, 25, 600), "global-default": (49, 25, 600),
        "catch-all": (13, 13, 600),
    }  # fmt: skip
    assert levels["exempt"].exempt and levels["catch-all"].queuing is None


def test_the_mandatory_ones_rule_even_where_nothing_is_stored() -> None:
    flow_control = control(MemoryReader())
    assert [s.name for s in flow_control.schemas] == ["exempt", "catch-all"]
    assert flow_control.classify(asked("get", ADMIN, PODS)).level.exempt
    assert flow_control.classify(asked("get", SOMEBODY, PODS)).level.name == "catch-all"


def test_configuration_is_followed() -> None:
    reader = stored()
    flow_control = control(reader)
    info = asked("list", SOMEBODY, CONFIGMAPS, "shop")
    assert flow_control.classify(info).schema.name == "global-default"
    schema: Object = {
        "metadata": {"name": "shop", "uid": "s"},
        "spec": {
            "matchingPrecedence": 500,
            "priorityLevelConfiguration": {"name": "shops"},
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "*"}}],
                    "resourceRules": [
                        {"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"], "namespaces": ["shop"]}
                    ],
                }
            ],
        },
    }
    reader.put(FLOWSCHEMAS, schema)
    assert flow_control.classify(info).schema.name == "global-default", "its level is not there"
    queuing = {"queues": 1, "handSize": 1, "queueLengthLimit": 1}
    limited = {
        "nominalConcurrencyShares": 245,
        "lendablePercent": 50,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    }
    reader.put(
        PRIORITYLEVELCONFIGURATIONS,
        {"metadata": {"name": "shops", "uid": "l"}, "spec": {"type": "Limited", "limited": limited}},
    )
    flow = flow_control.classify(info)
    assert flow.schema.name == "shop" and (flow.level.nominal, flow.level.own, flow.level.most) == (300, 150, 300)
    assert flow_control.classify(asked("list", SOMEBODY, CONFIGMAPS, "other")).schema.name == "global-default"
    flow.schema.dispatched += 1
    reader.put(FLOWSCHEMAS, {**schema, "spec": {**schema["spec"], "matchingPrecedence": 501}})
    assert flow_control.classify(info).schema is flow.schema and flow.schema.dispatched == 1
    flow_control.rejected[flow.level.name, "shop", "queue-full"] = 1
    # A level that goes while it is busy keeps its seats until they are given back.
    assert flow.level.try_take(1)
    reader.remove(PRIORITYLEVELCONFIGURATIONS, "", "shops")
    assert flow_control.classify(info).schema.name == "global-default" and "shops" in flow_control.pool.levels
    flow.level.release(1)
    reader.remove(FLOWSCHEMAS, "", "shop")
    assert "shops" not in flow_control.pool.levels and not flow_control.rejected


@pytest.mark.parametrize(
    ("query", "count", "average", "width"),
    [
        ({}, 0, 0, 1),
        ({}, 10, 1000, 1),
        ({}, 250, 1000, 3),
        ({}, 100_000, 2000, 10),
        ({"limit": "100"}, 100_000, 2000, 2),
        ({"limit": "nonsense"}, 100_000, 2000, 10),
        ({"limit": "1", "resourceVersion": "0"}, 100_000, 2000, 10),
        ({"limit": "100", "resourceVersion": "5", "labelSelector": "a=b"}, 1000, 1000, 5),
        ({"fieldSelector": "metadata.name=a"}, 100_000, 2000, 1),
    ],
)
def test_a_list_is_as_wide_as_what_it_moves(query: dict[str, str], count: int, average: int, width: int) -> None:
    one = "fieldSelector" in query
    assert work.list_width(query, count, average, 10, one=one) == width
    assert work.list_width(query, count, average, 1, one=one) == 1


def test_no_request_is_wider_than_a_part_of_its_level() -> None:
    assert [work.seats_max(n) for n in (0, 1, 6, 13, 49, 98, 245)] == [1, 1, 1, 2, 8, 10, 10]
    flow_control = control(stored())
    flow = flow_control.classify(asked("list", SOMEBODY, PODS))
    assert flow_control.width(flow, asked("list", SOMEBODY, PODS)) == 8
    assert flow_control.width(flow, asked("watch", SOMEBODY, PODS, query={"sendInitialEvents": "true"})) == 8
    assert flow_control.width(flow, asked("watch", SOMEBODY, PODS)) == 1


def test_retry_after_grows_with_the_overload_and_comes_back() -> None:
    retry = RetryAfter()
    told = [retry.note(1000.0 + second) for second in range(60) for _ in range(100)]
    assert told[0] == 1 and max(told) == told[-1] == 32
    assert [retry.note(2000.0 + 50 * i) for i in range(40)][-1] == 1


# ---- what is kept in the API


def planned(reader: MemoryReader) -> list[keeper.Action]:
    return keeper.plan(reader.list(PRIORITYLEVELCONFIGURATIONS), reader.list(FLOWSCHEMAS), 1_700_000_000.0)


def changes(actions: list[keeper.Action]) -> list[tuple[str, str]]:
    return [(type(a).__name__, name_of(a.obj)) for a in actions if not isinstance(a, keeper.SetCondition)]


def test_everything_is_created_once_and_conditions_follow() -> None:
    assert len(changes(planned(MemoryReader()))) == 8 + 13
    reader = stored()
    actions = planned(reader)
    assert not changes(actions) and len(actions) == 13
    for action in actions:
        assert isinstance(action, keeper.SetCondition)
        reader.put(FLOWSCHEMAS, action.obj)
    assert planned(reader) == []
    reader.remove(PRIORITYLEVELCONFIGURATIONS, "", "workload-low")
    assert changes(planned(reader)) == [("Create", "workload-low")]


def test_a_schema_without_its_level_dangles() -> None:
    reader = MemoryReader()
    reader.put(
        FLOWSCHEMAS,
        {"metadata": {"name": "x", "uid": "x"}, "spec": {"priorityLevelConfiguration": {"name": "nowhere"}}},
    )
    (told,) = [a for a in planned(reader) if isinstance(a, keeper.SetCondition)]
    (condition,) = told.obj["status"]["conditions"]
    assert condition["status"] == "True" and condition["reason"] == "NotFound"
    assert condition["message"] == (
        'This FlowSchema references the PriorityLevelConfiguration object named "nowhere" but there is no such object'
    )


def test_who_may_have_it_his_way() -> None:
    reader = stored()

    def change(name: str, *, annotation: str | None = "true", generation: int = 2) -> None:
        obj: Object = clone(reader.get(PRIORITYLEVELCONFIGURATIONS, "", name))
        obj["spec"]["limited"]["nominalConcurrencyShares"] = 7
        obj["metadata"]["generation"] = generation
        obj["metadata"]["annotations"] = {} if annotation is None else {policy.AUTOUPDATE: annotation}
        reader.put(PRIORITYLEVELCONFIGURATIONS, obj)

    change("system")
    change("node-high", annotation="false")
    change("workload-low", annotation=None)
    change("workload-high", annotation=None, generation=1)
    change("catch-all", annotation="false")
    updates = {name_of(a.obj): a.obj for a in planned(reader) if isinstance(a, keeper.Update)}
    assert updates.keys() == {"system", "workload-low", "workload-high", "catch-all"}
    shares = {n: o["spec"]["limited"]["nominalConcurrencyShares"] for n, o in updates.items()}
    assert shares == {"system": 30, "workload-low": 7, "workload-high": 40, "catch-all": 5}
    notes = {n: o["metadata"]["annotations"][policy.AUTOUPDATE] for n, o in updates.items()}
    assert notes == {"system": "true", "workload-low": "false", "workload-high": "true", "catch-all": "true"}


def test_a_default_of_an_earlier_version_is_taken_away() -> None:
    reader = stored()
    for name, annotation in (("old", "true"), ("mine", "false")):
        obj: Object = {"metadata": {"name": name, "uid": name, "annotations": {policy.AUTOUPDATE: annotation}}}
        reader.put(FLOWSCHEMAS, {**obj, "spec": {"priorityLevelConfiguration": {"name": "exempt"}}})
    assert changes(planned(reader)) == [("Delete", "old")]

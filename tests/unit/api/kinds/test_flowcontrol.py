"""Flow schemas and priority levels: the exact faults of what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds import flowcontrol
from pybernetes.api.meta import Object, clone, name_of
from pybernetes.apiserver.flowcontrol import policy
from tests.unit.api.kinds.build import created, faults, named, status_faults

ALL: Object = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
GROUP: Object = {"kind": "Group", "group": {"name": "g"}}


def schema(name: str = "mine", **spec: Any) -> Object:
    defaults: Object = {
        "priorityLevelConfiguration": {"name": "workload-low"},
        "rules": [{"subjects": [GROUP], "resourceRules": [ALL]}],
    }
    return named(name, "", spec={**defaults, **spec})


def with_rule(**rule: Any) -> Object:
    return schema(rules=[{"subjects": [GROUP], **rule}])


def with_urls(*urls: str) -> Object:
    return with_rule(nonResourceRules=[{"verbs": ["*"], "nonResourceURLs": list(urls)}])


def with_subject(**subject: Any) -> Object:
    return schema(rules=[{"subjects": [subject], "resourceRules": [ALL]}])


RULE = "spec.rules[0]"
RESOURCE = f"{RULE}.resourceRules[0]"
URL = f"{RULE}.nonResourceRules[0].nonResourceURLs"


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (schema(), []),
        (schema(matchingPrecedence=-1), ["spec.matchingPrecedence: Invalid value: -1: must be a positive value"]),
        (schema(matchingPrecedence=10001), [
            "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"
        ]),
        (schema(matchingPrecedence=1), [
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"
        ]),
        (schema(priorityLevelConfiguration={}), [
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level"
        ]),
        (schema(distinguisherMethod={"type": "x"}), [
            'spec.distinguisherMethod.type: Unsupported value: {"type":"x"}: '
            'supported values: "ByNamespace", "ByUser"'
        ]),
        (schema(rules=[{}]), [
            f"{RULE}.subjects: Required value: subjects must contain at least one value",
            f"{RULE}: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
        ]),
        (with_subject(kind="x"), [
            f'{RULE}.subjects[0].kind: Unsupported value: "x": supported values: "Group", "ServiceAccount", "User"'
        ]),
        (with_subject(kind="User", group={"name": "g"}), [
            f"{RULE}.subjects[0].user: Required value: user is required when subject kind is 'User'",
            f"{RULE}.subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
        ]),
        (with_subject(kind="Group", group={}), [f"{RULE}.subjects[0].group.name: Required value"]),
        (with_subject(kind="ServiceAccount", serviceAccount={"name": "*"}), [
            f"{RULE}.subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account"
        ]),
        (with_rule(resourceRules=[{}]), [
            f"{RESOURCE}.verbs: Required value: verbs must contain at least one value",
            f"{RESOURCE}.apiGroups: Required value: resource rules must supply at least one api group",
            f"{RESOURCE}.resources: Required value: resource rules must supply at least one resource",
            f"{RESOURCE}.namespaces: Required value: "
            "resource rules that are not cluster scoped must supply at least one namespace",
        ]),
        (with_rule(resourceRules=[{**ALL, "verbs": ["*", "get"]}]), [
            f'{RESOURCE}.verbs: Invalid value: ["*","get"]: if \'*\' is present, must not specify other verbs'
        ]),
        (with_rule(resourceRules=[{**ALL, "verbs": ["feed"]}]), [
            f'{RESOURCE}.verbs: Unsupported value: ["feed"]: supported values: "create", "delete", '
            '"deletecollection", "get", "list", "patch", "proxy", "update", "watch"'
        ]),
        (with_rule(resourceRules=[{**ALL, "namespaces": ["-"]}]), [
            f'{RESOURCE}.namespaces[0]: Invalid value: "-": each member of this list must be \'*\' or a DNS-1123 '
            "label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
            "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation "
            "is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ]),
        (with_urls("", "/", "x", "/a b", "//", "/*a", "/a/*"), [
            f'{URL}[0]: Invalid value: "": must not be empty',
            f'{URL}[2]: Invalid value: "x": must start with slash',
            f'{URL}[3]: Invalid value: "/a b": must not contain white-space',
            f'{URL}[4]: Invalid value: "//": must not contain double slash',
            f'{URL}[5]: Invalid value: "/*a": wildcard can only do suffix matching',
        ]),
    ],
)  # fmt: skip
def test_flow_schemas(obj: Object, errors: list[str]) -> None:
    assert faults(r.FLOWSCHEMAS, obj) == errors


def level(name: str = "mine", response: Object | None = None, **limited: Any) -> Object:
    limited["limitResponse"] = {"type": "Reject"} if response is None else response
    return named(name, "", spec={"type": "Limited", "limited": limited})


QUEUING = "spec.limited.limitResponse.queuing"


def queue(**queuing: int) -> Object:
    return level(response={"type": "Queue", "queuing": queuing})


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (level(), []),
        (queue(), []),
        (level(nominalConcurrencyShares=0), []),
        (level(nominalConcurrencyShares=-1, lendablePercent=101, borrowingLimitPercent=-1), [
            "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
            "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
        ]),
        (level(response={}), [
            'spec.limited.limitResponse.type: Unsupported value: "": supported values: "Queue", "Reject"'
        ]),
        (level(response={"type": "Reject", "queuing": {}}), [
            f"{QUEUING}: Forbidden: must be nil if limited.limitResponse.type is not Limited"
        ]),
        (level(response={"type": "Queue"}), [
            f"{QUEUING}: Required value: must not be empty if limited.limitResponse.type is Limited"
        ]),
        (queue(queues=-1, handSize=-1, queueLengthLimit=-1), [
            f"{QUEUING}.queueLengthLimit: Invalid value: -1: must be positive",
            f"{QUEUING}.queues: Invalid value: -1: must be positive",
            f"{QUEUING}.handSize: Invalid value: -1: must be positive",
        ]),
        (queue(queues=4, handSize=5), [f"{QUEUING}.handSize: Invalid value: 5: should not be greater than queues (4)"]),
        (queue(queues=512, handSize=8), [
            f"{QUEUING}.handSize: Invalid value: 8: "
            "required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"
        ]),
        (queue(queues=10_000_001, handSize=1), [
            f"{QUEUING}.queues: Invalid value: 10000001: must not be greater than 10000000"
        ]),
        (named("mine", "", spec={"type": "Limited", "exempt": {}}), [
            "spec.exempt: Forbidden: must be nil if the type is Limited",
            "spec.limited: Required value: must not be empty when type is Limited",
        ]),
        (named("mine", "", spec={"type": "Exempt"}), [
            "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"
        ]),
        (named("mine", "", spec={}), ['spec.type: Unsupported value: "": supported values: "Exempt", "Limited"']),
        (named("exempt", "", spec={"type": "Exempt", "exempt": {"nominalConcurrencyShares": 5}}), []),
    ],
)  # fmt: skip
def test_priority_levels(obj: Object, errors: list[str]) -> None:
    assert faults(r.PRIORITYLEVELCONFIGURATIONS, obj) == errors


def test_what_must_exist_is_what_the_server_creates_and_may_not_differ() -> None:
    for created_by_server, fixed, resource in (
        (policy.flow_schemas(), flowcontrol.MANDATORY_SCHEMAS, r.FLOWSCHEMAS),
        (policy.priority_levels(), flowcontrol.MANDATORY_LEVELS, r.PRIORITYLEVELCONFIGURATIONS),
    ):
        for obj in created_by_server:
            assert faults(resource, obj) == [], name_of(obj)
            if name_of(obj) in fixed:
                assert created(resource, obj)["spec"] == fixed[name_of(obj)]
    other = named("catch-all", "", spec=clone(flowcontrol.MANDATORY_SCHEMAS["catch-all"]))
    other["spec"]["matchingPrecedence"] = 9999
    assert [e.rpartition(": ")[2] for e in faults(r.FLOWSCHEMAS, other)] == [
        "spec of 'catch-all' must equal the fixed value"
    ]


def test_conditions_of_a_status() -> None:
    old = created(r.FLOWSCHEMAS, schema())
    new = {**clone(old), "status": {"conditions": [{"type": "A"}, {"type": "A"}, {}]}}
    assert status_faults(r.FLOWSCHEMAS, new, old) == [
        'status.conditions[1].type: Duplicate value: "A"',
        "status.conditions[2].type: Required value: must not be empty",
    ]

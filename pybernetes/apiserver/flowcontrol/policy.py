"""The default priority levels and flow schemas (API Priority and Fairness), as data.

Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pybernetes.api.meta import Object
from pybernetes.api.user import AUTHENTICATED, NODES_GROUP, SERVICE_ACCOUNTS, SYSTEM_MASTERS, UNAUTHENTICATED

_API_VERSION = "flowcontrol.apiserver.k8s.io/v1"
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
_ANNOTATIONS = {AUTOUPDATE: "true"}

MANDATORY = frozenset(("exempt", "catch-all"))
"""The levels and schemas that rule even where they are not stored."""

# name: (shares, lendable percent, (queues, hand size, queue length))
_QUEUED: dict[str, tuple[int, int, tuple[int, int, int]]] = {
    "system": (30, 33, (64, 6, 50)),
    "node-high": (40, 25, (64, 6, 50)),
    "leader-election": (10, 0, (16, 4, 50)),
    "workload-high": (40, 50, (128, 6, 50)),
    "workload-low": (100, 90, (128, 6, 50)),
    "global-default": (20, 50, (128, 6, 50)),
}


def priority_levels() -> Iterator[Object]:
    """The default PriorityLevelConfigurations."""
    yield _priority_level("exempt", {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})
    yield _priority_level(
        "catch-all",
        {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
        },
    )
    for name, (shares, lendable, (queues, hand, length)) in _QUEUED.items():
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": length}
        yield _priority_level(
            name,
            {
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": shares,
                    "lendablePercent": lendable,
                    "limitResponse": {"type": "Queue", "queuing": queuing},
                },
            },
        )


def _priority_level(name: str, spec: Object) -> Object:
    return {
        "apiVersion": _API_VERSION,
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": name, "annotations": dict(_ANNOTATIONS)},
        "spec": spec,
    }


def _group(name: str) -> Object:
    return {"kind": "Group", "group": {"name": name}}


def _user(name: str) -> Object:
    return {"kind": "User", "user": {"name": name}}


def _account(namespace: str, name: str) -> Object:
    return {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}


def _resources(
    verbs: Sequence[str], groups: Sequence[str], resources: Sequence[str], *, cluster_scope: bool = False
) -> Object:
    rule: Object = {
        "verbs": list(verbs),
        "apiGroups": list(groups),
        "resources": list(resources),
        "namespaces": ["*"],
    }
    if cluster_scope:
        rule["clusterScope"] = True
    return rule


_EVERYTHING = _resources(["*"], ["*"], ["*"], cluster_scope=True)
_EVERY_URL: Object = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_LEASES = _resources(["get", "create", "update"], ["coordination.k8s.io"], ["leases"])


def _everything_for(*subjects: Object) -> Object:
    return {"subjects": list(subjects), "resourceRules": [_EVERYTHING], "nonResourceRules": [_EVERY_URL]}


# (name, precedence, priority level, distinguisher, rules)
_FLOW_SCHEMAS: tuple[tuple[str, int, str, str, tuple[Object, ...]], ...] = (
    ("exempt", 1, "exempt", "", (_everything_for(_group(SYSTEM_MASTERS)),)),
    (
        "probes",
        2,
        "exempt",
        "",
        (
            {
                "subjects": [_group(UNAUTHENTICATED), _group(AUTHENTICATED)],
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
            },
        ),
    ),
    (
        "system-leader-election",
        100,
        "leader-election",
        "ByUser",
        (
            {
                "subjects": [_user("system:kube-controller-manager"), _user("system:kube-scheduler")],
                "resourceRules": [_LEASES],
            },
        ),
    ),
    (
        "endpoint-controller",
        150,
        "workload-high",
        "ByUser",
        (
            {
                "subjects": [
                    _user("system:kube-controller-manager"),
                    _account("kube-system", "endpoint-controller"),
                    _account("kube-system", "endpointslicemirroring-controller"),
                ],
                "resourceRules": [_resources(["get", "create", "update"], [""], ["endpoints"])],
            },
        ),
    ),
    (
        "workload-leader-election",
        200,
        "leader-election",
        "ByUser",
        ({"subjects": [_account("kube-system", "*")], "resourceRules": [_LEASES]},),
    ),
    (
        "system-node-high",
        400,
        "node-high",
        "ByUser",
        (
            {
                "subjects": [_group(NODES_GROUP)],
                "resourceRules": [
                    _resources(["*"], [""], ["nodes", "nodes/status"], cluster_scope=True),
                    _resources(["*"], ["coordination.k8s.io"], ["leases"]),
                ],
            },
        ),
    ),
    ("system-nodes", 500, "system", "ByUser", (_everything_for(_group(NODES_GROUP)),)),
    (
        "kube-controller-manager",
        800,
        "workload-high",
        "ByNamespace",
        (_everything_for(_user("system:kube-controller-manager")),),
    ),
    ("kube-scheduler", 800, "workload-high", "ByNamespace", (_everything_for(_user("system:kube-scheduler")),)),
    (
        "kube-system-service-accounts",
        900,
        "workload-high",
        "ByNamespace",
        (_everything_for(_account("kube-system", "*")),),
    ),
    ("service-accounts", 9000, "workload-low", "ByUser", (_everything_for(_group(SERVICE_ACCOUNTS)),)),
    (
        "global-default",
        9900,
        "global-default",
        "ByUser",
        (_everything_for(_group(UNAUTHENTICATED), _group(AUTHENTICATED)),),
    ),
    (
        "catch-all",
        10000,
        "catch-all",
        "ByUser",
        (_everything_for(_group(UNAUTHENTICATED), _group(AUTHENTICATED)),),
    ),
)


def flow_schemas() -> Iterator[Object]:
    """The default FlowSchemas."""
    for name, precedence, level, distinguisher, rules in _FLOW_SCHEMAS:
        spec: Object = {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": precedence,
            "rules": list(rules),
        }
        if distinguisher:
            spec["distinguisherMethod"] = {"type": distinguisher}
        yield {
            "apiVersion": _API_VERSION,
            "kind": "FlowSchema",
            "metadata": {"name": name, "annotations": dict(_ANNOTATIONS)},
            "spec": spec,
        }

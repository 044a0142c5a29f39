"""RBAC: decisions, their reasons, how fast they follow, what covers what."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.meta import Object
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, UNAUTHENTICATED, User, service_account_user
from pybernetes.apiserver.authorization import AuthorizerChain, access_denied
from pybernetes.apiserver.interfaces import Attributes
from pybernetes.apiserver.rbac import RBACAuthorizer, compact_string, compile_rules, uncovered
from pybernetes.apiserver.rbac_policy import cluster_role_bindings, cluster_roles, role_bindings, roles
from tests.unit.apiserver.security.memory_reader import MemoryReader

ALICE = User("alice", groups=("devs", AUTHENTICATED))
POD_READER: Object = {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"]}


def ask(user: User, verb: str, resource: str, namespace: str = "", *, group: str = "", name: str = "") -> Attributes:
    resource, _, sub = resource.partition("/")
    return Attributes(user, verb, namespace, group, "v1", resource, sub, name)


def bind(
    reader: MemoryReader, name: str, role: str, subject: Object, namespace: str = "", kind: str = "ClusterRole"
) -> None:
    resource = ROLEBINDINGS if namespace else CLUSTERROLEBINDINGS
    reader.make(resource, name, namespace, subjects=[subject], roleRef={"kind": kind, "name": role})


def user(name: str) -> Object:
    return {"kind": "User", "name": name}


@pytest.fixture
def rbac(reader: MemoryReader) -> RBACAuthorizer:
    return RBACAuthorizer(reader)


def allowed(rbac: RBACAuthorizer, attributes: Attributes) -> bool:
    return rbac.authorize(attributes).allowed


def test_nothing_is_allowed_by_itself(rbac: RBACAuthorizer) -> None:
    assert not allowed(rbac, ask(ALICE, "get", "pods", "shop"))


def test_decisions_follow_every_change_at_once(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    wish = ask(ALICE, "get", "pods", "shop")
    bind(reader, "b", "reader", user("alice"))
    assert not allowed(rbac, wish)
    reader.make(CLUSTERROLES, "reader", rules=[POD_READER])
    assert allowed(rbac, wish)
    assert allowed(rbac, ask(ALICE, "get", "pods/log", "elsewhere"))
    assert not allowed(rbac, ask(ALICE, "delete", "pods", "shop"))
    reader.make(CLUSTERROLES, "reader", rules=[{**POD_READER, "verbs": ["delete"]}])
    assert not allowed(rbac, wish)
    assert allowed(rbac, ask(ALICE, "delete", "pods", "shop"))
    bind(reader, "b", "reader", user("bob"))
    assert not allowed(rbac, ask(ALICE, "delete", "pods", "shop"))
    bind(reader, "b", "reader", {"kind": "Group", "name": "devs"})
    assert allowed(rbac, ask(ALICE, "delete", "pods", "shop"))
    reader.remove(CLUSTERROLEBINDINGS, "", "b")
    assert not allowed(rbac, ask(ALICE, "delete", "pods", "shop"))


def test_role_bindings_hold_in_their_namespace(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    reader.make(ROLES, "reader", "shop", rules=[POD_READER])
    bind(reader, "b", "reader", user("alice"), "shop", kind="Role")
    assert allowed(rbac, ask(ALICE, "list", "pods", "shop"))
    assert not allowed(rbac, ask(ALICE, "list", "pods", "bank"))
    assert not allowed(rbac, ask(ALICE, "list", "pods"))
    # A ClusterRole bound in a namespace grants there alone.
    reader.make(CLUSTERROLES, "deleter", rules=[{**POD_READER, "verbs": ["delete"]}])
    bind(reader, "c", "deleter", user("alice"), "bank")
    assert allowed(rbac, ask(ALICE, "delete", "pods", "bank"))
    assert not allowed(rbac, ask(ALICE, "delete", "pods", "shop"))


def test_service_accounts(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    reader.make(CLUSTERROLES, "reader", rules=[POD_READER])
    bind(reader, "b", "reader", {"kind": "ServiceAccount", "name": "robot", "namespace": "shop"})
    bind(reader, "own", "reader", {"kind": "ServiceAccount", "name": "other"}, "shop")
    assert allowed(rbac, ask(service_account_user("shop", "robot"), "get", "pods", "bank"))
    assert not allowed(rbac, ask(service_account_user("bank", "robot"), "get", "pods", "bank"))
    assert allowed(rbac, ask(service_account_user("shop", "other"), "get", "pods", "shop"))


def test_names_and_wildcards(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["this"]},
        {"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["update"]},
        {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["/metrics", "/healthz/*"], "verbs": ["get"]},
    ]
    reader.make(CLUSTERROLES, "odd", rules=rules)
    bind(reader, "b", "odd", user("alice"))
    assert allowed(rbac, ask(ALICE, "get", "configmaps", "x", name="this"))
    assert not allowed(rbac, ask(ALICE, "get", "configmaps", "x", name="that"))
    assert not allowed(rbac, ask(ALICE, "list", "configmaps", "x"))
    assert allowed(rbac, ask(ALICE, "update", "replicationcontrollers/scale", "x"))
    assert not allowed(rbac, ask(ALICE, "update", "replicationcontrollers", "x"))
    assert allowed(rbac, ask(ALICE, "patch", "deployments/status", "x", group="apps"))
    assert not allowed(rbac, ask(ALICE, "patch", "jobs", "x", group="batch"))
    for path, verb, ok in (
        ("/metrics", "get", True), ("/metrics", "post", False), ("/metrics/slis", "get", False),
        ("/healthz/etcd", "get", True), ("/healthz", "get", False),
    ):  # fmt: skip
        assert allowed(rbac, Attributes(ALICE, verb, path=path)) is ok


def test_reasons(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    reader.make(CLUSTERROLES, "reader", rules=[POD_READER])
    bind(reader, "all", "reader", {"kind": "Group", "name": "devs"})
    assert rbac.authorize(ask(ALICE, "get", "pods", "shop")).reason == (
        'RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "devs"'
    )
    bind(reader, "own", "reader", {"kind": "ServiceAccount", "name": "robot", "namespace": "bank"}, "shop")
    assert rbac.authorize(ask(service_account_user("bank", "robot"), "get", "pods", "shop")).reason == (
        'RBAC: allowed by RoleBinding "own/shop" of ClusterRole "reader" to ServiceAccount "robot/bank"'
    )


def test_refusals_in_upstreams_words() -> None:
    def text(attributes: Attributes, reason: str = "") -> str:
        return access_denied(attributes, reason).message

    assert text(ask(ALICE, "list", "pods", "shop")) == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "shop"'
    )
    assert text(ask(ALICE, "get", "nodes/status", name="n1")) == (
        'nodes "n1" is forbidden: User "alice" cannot get resource "nodes/status" in API group "" at the cluster scope'
    )
    assert text(ask(ALICE, "patch", "deployments", "a", group="apps", name="d"), "why") == (
        'deployments.apps "d" is forbidden: User "alice" cannot patch resource "deployments" in API group "apps" '
        'in the namespace "a": why'
    )
    assert text(Attributes(ALICE, "get", path="/metrics")) == 'forbidden: User "alice" cannot get path "/metrics"'


def test_masters_need_no_role(rbac: RBACAuthorizer) -> None:
    chain = AuthorizerChain([rbac])
    assert chain.authorize(ask(User("root", groups=(SYSTEM_MASTERS,)), "delete", "nodes")).allowed
    assert not chain.authorize(ask(ALICE, "delete", "nodes")).allowed


def load_policy(reader: MemoryReader) -> None:
    for resource, objects in (
        (CLUSTERROLES, cluster_roles()), (CLUSTERROLEBINDINGS, cluster_role_bindings()),
        (ROLES, roles()), (ROLEBINDINGS, role_bindings()),
    ):  # fmt: skip
        for obj in objects:
            reader.put(resource, obj)


def test_the_default_policy(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    load_policy(reader)
    nobody = User("system:anonymous", groups=(UNAUTHENTICATED,))
    somebody = User("eve", groups=(AUTHENTICATED,))
    for path in ("/healthz", "/livez", "/readyz", "/version", "/version/"):
        assert allowed(rbac, Attributes(nobody, "get", path=path))
    for path in ("/api", "/apis/apps/v1", "/openapi/v2"):
        assert not allowed(rbac, Attributes(nobody, "get", path=path))
        assert allowed(rbac, Attributes(somebody, "get", path=path))
    assert not allowed(rbac, Attributes(somebody, "get", path="/metrics"))
    assert allowed(rbac, ask(somebody, "create", "selfsubjectaccessreviews", group="authorization.k8s.io"))
    assert not allowed(rbac, ask(somebody, "get", "pods", "default"))
    account = service_account_user("default", "default")
    assert allowed(rbac, Attributes(account, "get", path="/openid/v1/jwks"))
    replicasets = service_account_user("kube-system", "replicaset-controller")
    assert allowed(rbac, ask(replicasets, "create", "pods", "default"))
    assert not allowed(rbac, ask(replicasets, "create", "secrets", "default"))
    scheduler = User("system:kube-scheduler", groups=(AUTHENTICATED,))
    assert allowed(rbac, ask(scheduler, "create", "pods/binding", "default"))
    assert allowed(rbac, ask(scheduler, "list", "persistentvolumes"))
    # The node authorizer takes the place of this binding.
    assert not allowed(rbac, ask(User("system:node:n1", groups=("system:nodes",)), "list", "services"))


def test_view_edit_and_admin(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    load_policy(reader)
    for role in ("view", "edit", "admin"):
        bind(reader, f"{role}-of-shop", role, user(role), "shop")

    def can(who: str, verb: str, resource: str, group: str = "") -> bool:
        return allowed(rbac, ask(User(who), verb, resource, "shop", group=group))

    assert can("view", "get", "pods") and can("edit", "get", "pods") and can("admin", "get", "pods")
    assert not can("view", "get", "secrets") and can("edit", "get", "secrets")
    assert not can("view", "create", "deployments", "apps") and can("edit", "create", "deployments", "apps")
    assert not can("edit", "create", "roles", "rbac.authorization.k8s.io")
    assert can("admin", "create", "roles", "rbac.authorization.k8s.io")
    assert not can("admin", "update", "resourcequotas")


def test_a_decision_costs_microseconds(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    """A guard against a decision that walks all bindings: those take hundreds of microseconds with these numbers."""
    load_policy(reader)
    for n in range(3000):
        bind(reader, f"b{n}", "view", user(f"u{n}"), f"ns{n % 50}")
    wish = ask(User("u7", groups=(AUTHENTICATED,)), "get", "pods", "ns7", name="p")
    assert allowed(rbac, wish)
    best = min(_timed(rbac, wish) for _ in range(5))
    assert best < 50e-6, f"{best * 1e6:.1f} µs a decision"


def _timed(rbac: RBACAuthorizer, wish: Attributes, rounds: int = 500) -> float:
    start = time.perf_counter()
    for _ in range(rounds):
        rbac.authorize(wish)
    return (time.perf_counter() - start) / rounds


def test_unknown_namespaces_leave_no_trace(rbac: RBACAuthorizer, reader: MemoryReader) -> None:
    load_policy(reader)
    for n in range(100):
        rbac.authorize(ask(ALICE, "get", "pods", f"no-such-{n}"))
    (tables,) = rbac._users.values()
    assert len(tables.namespaces) == 0


# Properties

VERBS = ["get", "list", "create", "*"]
GROUPS = ["", "apps", "*"]
RESOURCES = ["pods", "pods/log", "deployments", "*/scale", "deployments/scale", "*"]
NAMES = ["a", "b"]
subsets = lambda values, least=1: st.lists(st.sampled_from(values), min_size=least, max_size=3, unique=True)  # noqa: E731
rule_objects = st.fixed_dictionaries(
    {"verbs": subsets(VERBS), "apiGroups": subsets(GROUPS), "resources": subsets(RESOURCES)},
    optional={"resourceNames": subsets(NAMES)},
)


def naive(rule: Any, wish: Attributes) -> bool:
    """The rules of the documentation, word for word."""
    full = f"{wish.resource}/{wish.subresource}" if wish.subresource else wish.resource
    return (
        ("*" in rule["verbs"] or wish.verb in rule["verbs"])
        and ("*" in rule["apiGroups"] or wish.group in rule["apiGroups"])
        and (
            "*" in rule["resources"]
            or full in rule["resources"]
            or bool(wish.subresource and f"*/{wish.subresource}" in rule["resources"])
        )
        and (not rule.get("resourceNames") or wish.name in rule["resourceNames"])
    )


wishes = st.builds(
    ask,
    st.just(ALICE),
    st.sampled_from(["get", "list", "create", "delete"]),
    st.sampled_from(["pods", "pods/log", "deployments", "deployments/scale", "pods/scale", "secrets"]),
    st.just("x"),
    group=st.sampled_from(["", "apps", "batch"]),
    name=st.sampled_from(["", "a", "b", "c"]),
)


@given(st.lists(rule_objects, max_size=4), wishes)
def test_compiled_rules_decide_as_the_rules_do(rules: list[Any], wish: Attributes) -> None:
    found = compile_rules(rules).find(wish)
    assert (found is not None) == any(naive(rule, wish) for rule in rules)


@given(st.lists(rule_objects, max_size=3), st.lists(rule_objects, max_size=2), wishes)
def test_what_is_covered_grants_nothing_new(owned: list[Any], wanted: list[Any], wish: Attributes) -> None:
    if not uncovered(owned, wanted) and any(naive(rule, wish) for rule in wanted):
        assert any(naive(rule, wish) for rule in owned)


@given(st.lists(rule_objects, max_size=3))
def test_everybody_holds_what_he_holds(rules: list[Any]) -> None:
    assert uncovered(rules, rules) == []


def test_how_missing_rules_are_told() -> None:
    missing = uncovered([POD_READER], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete", "patch"]}])
    assert [compact_string(m) for m in missing] == ['{APIGroups:[""], Resources:["pods"], Verbs:["delete" "patch"]}']
    urls = uncovered(
        [{"nonResourceURLs": ["/a/*"], "verbs": ["get"]}], [{"nonResourceURLs": ["/a/b", "/c"], "verbs": ["get"]}]
    )
    assert [compact_string(m) for m in urls] == ['{NonResourceURLs:["/c"], Verbs:["get"]}']

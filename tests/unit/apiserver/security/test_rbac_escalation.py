"""Nobody grants what he does not hold."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from pybernetes.api.user import SYSTEM_MASTERS, User
from pybernetes.apiserver.admission.rbac_escalation import RBACEscalation
from pybernetes.apiserver.authorization import AuthorizerChain
from pybernetes.apiserver.rbac import RBACAuthorizer
from tests.unit.apiserver.security.admitting import ALICE, admit, request
from tests.unit.apiserver.security.memory_reader import MemoryReader

RULE: Object = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


@pytest.fixture
def plugin(reader: MemoryReader) -> RBACEscalation:
    rbac = RBACAuthorizer(reader)
    return RBACEscalation(rbac, AuthorizerChain([rbac]))


def grant(reader: MemoryReader, *rules: Object, namespace: str = "") -> None:
    name = f"held-{len(reader.list(CLUSTERROLES))}"
    reader.make(CLUSTERROLES, name, rules=list(rules))
    resource = ROLEBINDINGS if namespace else CLUSTERROLEBINDINGS
    subjects = [{"kind": "User", "name": "alice"}]
    reader.make(resource, name, namespace, subjects=subjects, roleRef={"kind": "ClusterRole", "name": name})


def role(*rules: Object, **more: Any) -> Object:
    return {"metadata": {"name": "r"}, "rules": list(rules), **more}


def binding(name: str = "strong", kind: str = "ClusterRole") -> Object:
    return {
        "metadata": {"name": "b"},
        "roleRef": {"kind": kind, "name": name},
        "subjects": [{"kind": "User", "name": "eve"}],
    }


async def test_roles(plugin: RBACEscalation, reader: MemoryReader) -> None:
    with pytest.raises(errors.Forbidden) as refused:
        await admit(plugin, request("CREATE", ROLES, role(RULE)))
    assert refused.value.message == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "alice" (groups=["devs" "system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}'
    )
    grant(reader, RULE, namespace="shop")
    await admit(plugin, request("CREATE", ROLES, role(RULE)))
    with pytest.raises(errors.Forbidden):
        await admit(plugin, request("CREATE", ROLES, role(RULE), namespace="bank"))
    with pytest.raises(errors.Forbidden):
        await admit(plugin, request("CREATE", CLUSTERROLES, role(RULE)))
    with pytest.raises(errors.Forbidden, match="NonResourceURLs"):
        await admit(plugin, request("CREATE", CLUSTERROLES, role({"nonResourceURLs": ["/x"], "verbs": ["get"]})))


async def test_a_label_makes_a_role_part_of_others(plugin: RBACEscalation, reader: MemoryReader) -> None:
    old = role(RULE)
    await admit(plugin, request("UPDATE", CLUSTERROLES, old, old=old))
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    relabelled = {**old, "metadata": {"name": "r", "labels": labels}}
    with pytest.raises(errors.Forbidden, match="not currently held"):
        await admit(plugin, request("UPDATE", CLUSTERROLES, relabelled, old=old))
    grant(reader, RULE)
    await admit(plugin, request("UPDATE", CLUSTERROLES, relabelled, old=old))


async def test_a_bindings_label_is_nobodys_who_may_not_bind(plugin: RBACEscalation, reader: MemoryReader) -> None:
    reader.make(CLUSTERROLES, "strong", rules=[RULE])
    relabelled = {**binding(), "metadata": {"name": "b", "labels": {"a": "b"}}}
    with pytest.raises(errors.Forbidden, match="not currently held"):
        await admit(plugin, request("UPDATE", CLUSTERROLEBINDINGS, relabelled, old=binding()))


async def test_who_may_escalate(plugin: RBACEscalation, reader: MemoryReader) -> None:
    root = User("root", groups=(SYSTEM_MASTERS,))
    await admit(plugin, request("CREATE", ROLES, role(RULE), user=root))
    grant(reader, {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]})
    await admit(plugin, request("CREATE", ROLES, role(RULE)))
    with pytest.raises(errors.Forbidden):
        await admit(plugin, request("CREATE", CLUSTERROLES, role(RULE)))


async def test_bindings(plugin: RBACEscalation, reader: MemoryReader) -> None:
    with pytest.raises(errors.NotFound, match='"strong" not found'):
        await admit(plugin, request("CREATE", CLUSTERROLEBINDINGS, binding()))
    reader.make(CLUSTERROLES, "strong", rules=[RULE])
    for resource in (CLUSTERROLEBINDINGS, ROLEBINDINGS):
        with pytest.raises(errors.Forbidden, match="attempting to grant RBAC permissions not currently held"):
            await admit(plugin, request("CREATE", resource, binding()))
    grant(reader, RULE, namespace="shop")
    await admit(plugin, request("CREATE", ROLEBINDINGS, binding()))
    with pytest.raises(errors.Forbidden):
        await admit(plugin, request("CREATE", CLUSTERROLEBINDINGS, binding()))
    bind = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"]}
    grant(reader, {**bind, "resourceNames": ["strong"]})
    await admit(plugin, request("CREATE", CLUSTERROLEBINDINGS, binding()))
    old = binding()
    await admit(plugin, request("UPDATE", CLUSTERROLEBINDINGS, old, old=old, user=User("nobody")))


async def test_aggregation_needs_everything(plugin: RBACEscalation, reader: MemoryReader) -> None:
    wish = role(aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})
    with pytest.raises(errors.Forbidden, match="must have cluster-admin privileges to use an aggregationRule"):
        await admit(plugin, request("CREATE", CLUSTERROLES, wish))
    grant(
        reader,
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    )
    await admit(plugin, request("CREATE", CLUSTERROLES, wish, user=ALICE))


async def test_what_aggregated_stays_in_strong_hands(plugin: RBACEscalation, reader: MemoryReader) -> None:
    old = role(RULE, aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})
    grant(reader, RULE)
    with pytest.raises(errors.Forbidden, match="must have cluster-admin privileges to use an aggregationRule"):
        await admit(plugin, request("UPDATE", CLUSTERROLES, role(RULE), old=old))


async def test_the_garbage_collector_may_let_go(plugin: RBACEscalation) -> None:
    old = {**role(RULE), "metadata": {"name": "r", "finalizers": ["x/y"], "ownerReferences": [{"name": "o"}]}}
    await admit(plugin, request("UPDATE", ROLES, role(RULE), old=old))

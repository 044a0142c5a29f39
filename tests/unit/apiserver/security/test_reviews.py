"""Reviews: what they answer, and what they refuse."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, SERVICEACCOUNTS
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, User
from pybernetes.apiserver.authenticators.chain import TokenChain
from pybernetes.apiserver.authorization import AuthorizerChain
from pybernetes.apiserver.authorization_config import AuthorizationWebhook
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.node_authorizer import NodeAuthorizer
from pybernetes.apiserver.outbound import WebhookConfig, trusting
from pybernetes.apiserver.rbac import RBACAuthorizer
from pybernetes.apiserver.reviews import Reviews
from pybernetes.apiserver.rule_resolution import RuleResolution
from pybernetes.apiserver.tokens import CLUSTER_ISSUER, ServiceAccountTokens
from pybernetes.lib.clock import ManualClock
from tests.unit.apiserver.security.memory_reader import MemoryReader

ALICE = User("alice", "7", ("devs", AUTHENTICATED), {"scope": ("a",)})
RULE: Object = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


@pytest.fixture
def tokens(reader: MemoryReader, clock: ManualClock) -> ServiceAccountTokens:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ServiceAccountTokens(pem, reader, clock)


@pytest.fixture
def reviews(tokens: ServiceAccountTokens, reader: MemoryReader, clock: ManualClock) -> Reviews:
    reader.make(CLUSTERROLES, "reader", rules=[RULE, {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])
    reader.make(
        CLUSTERROLEBINDINGS,
        "readers",
        subjects=[{"kind": "Group", "name": "devs"}],
        roleRef={"kind": "ClusterRole", "name": "reader"},
    )
    rbac = RBACAuthorizer(reader)
    return Reviews(
        TokenChain([tokens], tokens.audiences), AuthorizerChain([rbac]), RuleResolution(("Node", "RBAC"), rbac), clock
    )


def info(user: User = ALICE, namespace: str = "") -> RequestInfo:
    return RequestInfo("create", "", user, namespace=namespace)


def about(**attributes: str) -> Object:
    return {"spec": {"resourceAttributes": attributes}}


async def test_may_i(reviews: Reviews) -> None:
    answer = await reviews.self_subject_access_review(info(), about(verb="get", resource="pods", namespace="shop"))
    assert answer["kind"] == "SelfSubjectAccessReview"
    assert answer["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "devs"',
    }
    assert answer["spec"]["resourceAttributes"]["namespace"] == "shop"
    answer = await reviews.self_subject_access_review(info(), about(verb="delete", resource="pods"))
    assert answer["status"] == {"allowed": False}
    path = {"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}}
    assert (await reviews.self_subject_access_review(info(), path))["status"]["allowed"]


async def test_may_somebody_else(reviews: Reviews) -> None:
    review = about(verb="get", resource="pods", namespace="shop")
    review["spec"]["groups"] = ["devs"]
    assert (await reviews.subject_access_review(info(), review))["status"]["allowed"]
    review["spec"] = {**review["spec"], "groups": ["others"], "user": "alice"}
    assert not (await reviews.subject_access_review(info(), review))["status"]["allowed"]
    assert not (await reviews.local_subject_access_review(info(namespace="shop"), review))["status"]["allowed"]


async def test_refusals(reviews: Reviews) -> None:
    with pytest.raises(errors.Invalid, match="exactly one of nonResourceAttributes or resourceAttributes"):
        await reviews.self_subject_access_review(info(), {"spec": {}})
    both = about(verb="get")
    both["spec"]["nonResourceAttributes"] = {"path": "/"}
    with pytest.raises(errors.Invalid, match="cannot be specified in combination with resourceAttributes"):
        await reviews.self_subject_access_review(info(), both)
    with pytest.raises(errors.Invalid, match="at least one of user or group must be specified"):
        await reviews.subject_access_review(info(), about(verb="get"))
    other = about(verb="get", namespace="bank")
    with pytest.raises(
        errors.Invalid, match=r'spec.resourceAttributes.namespace: .*"bank": must match metadata.namesp'
    ):
        await reviews.local_subject_access_review(info(namespace="shop"), other)
    with pytest.raises(errors.BadRequest, match="no namespace on request"):
        await reviews.self_subject_rules_review(info(), {"spec": {}})
    with pytest.raises(errors.BadRequest, match="token is required"):
        await reviews.token_review(info(), {"spec": {}})


@pytest.mark.parametrize(
    ("selector", "fault"),
    [
        ({}, "when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"),
        (
            {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "may not specified",
        ),
        (
            {"requirements": [{"operator": "In", "values": ["b"]}]},
            "requirements[0].key: Required value: must be specif",
        ),
        ({"requirements": [{"key": "a", "operator": "In"}]}, "must be specified when `operator` is 'In' or 'NotIn'"),
    ],
)
async def test_selectors_that_cannot_be(reviews: Reviews, selector: Object, fault: str) -> None:
    review = about(verb="list", resource="pods")
    review["spec"]["resourceAttributes"]["fieldSelector"] = selector
    with pytest.raises(errors.Invalid) as refused:
        await reviews.self_subject_access_review(info(), review)
    assert fault in refused.value.message


@pytest.mark.parametrize(
    ("selectors", "fault"),
    [
        ({"fieldSelector": {"rawSelector": "spec.nodeName=n1"}}, ""),
        ({"fieldSelector": {"rawSelector": "a"}}, "spec.resourceAttributes.fieldSelector ignored due to parse error"),
        (
            {
                "fieldSelector": {
                    "requirements": [
                        {"key": "spec.nodeName", "operator": "In", "values": ["n1"]},
                        {"key": "x", "operator": "Near", "values": ["y"]},
                    ]
                }
            },
            "spec.resourceAttributes.fieldSelector partially ignored due to parse error",
        ),
        (
            {"labelSelector": {"rawSelector": "a in"}},
            "spec.resourceAttributes.labelSelector ignored due to parse error",
        ),
    ],
)
async def test_selectors_are_taken_as_far_as_they_are_understood(
    reader: MemoryReader, tokens: ServiceAccountTokens, clock: ManualClock, selectors: Object, fault: str
) -> None:
    rbac = RBACAuthorizer(reader)
    chain = AuthorizerChain([NodeAuthorizer(reader), rbac])
    reviews = Reviews(TokenChain([tokens], tokens.audiences), chain, RuleResolution(("Node", "RBAC"), rbac), clock)
    review = about(verb="list", resource="pods")
    review["spec"] |= {"user": "system:node:n1", "groups": ["system:nodes"]}
    review["spec"]["resourceAttributes"] |= selectors
    status = (await reviews.subject_access_review(info(), review))["status"]
    assert status.get("evaluationError", "") == fault
    assert status["allowed"] is ("spec.nodeName" in str(selectors))


async def test_a_review_is_nothing_that_is_kept(reviews: Reviews) -> None:
    review = {**about(verb="get", resource="pods"), "metadata": {"name": "x", "creationTimestamp": None}}
    with pytest.raises(errors.Invalid, match=r"metadata: Invalid value: .*: must be empty"):
        await reviews.self_subject_access_review(info(), review)


async def test_my_rules(reviews: Reviews) -> None:
    answer = await reviews.self_subject_rules_review(info(), {"spec": {"namespace": "shop"}})
    assert answer["status"] == {
        "resourceRules": [RULE],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}],
        "incomplete": False,
    }
    root = User("root", groups=(SYSTEM_MASTERS,))
    answer = await reviews.self_subject_rules_review(info(root), {"spec": {"namespace": "shop"}})
    assert answer["status"]["resourceRules"][0]["resources"] == ["*"]
    node = User("system:node:n1", groups=("system:nodes",))
    answer = await reviews.self_subject_rules_review(info(node), {"spec": {"namespace": "shop"}})
    assert answer["status"]["incomplete"] is True


async def test_rules_that_nobody_can_list(reader: MemoryReader) -> None:
    rbac = RBACAuthorizer(reader)
    hook = AuthorizationWebhook(WebhookConfig("https://hook", trusting(None)))
    found = RuleResolution(("RBAC", hook), rbac).rules_for(ALICE, "shop")
    assert found.incomplete and found.faults == ["webhook authorizer does not support user rule resolution"]
    found = RuleResolution(("AlwaysAllow",), rbac).rules_for(ALICE, "shop")
    assert found.rules[0]["resources"] == ["*"] and not found.incomplete


async def test_who_am_i(reviews: Reviews) -> None:
    answer = await reviews.self_subject_review(info(), {})
    assert answer["status"]["userInfo"] == {
        "username": "alice",
        "uid": "7",
        "groups": ["devs", AUTHENTICATED],
        "extra": {"scope": ["a"]},
    }
    assert answer["metadata"]["creationTimestamp"]


async def test_token_reviews(reviews: Reviews, tokens: ServiceAccountTokens, reader: MemoryReader) -> None:
    account = reader.make(SERVICEACCOUNTS, "robot", "shop")
    token = tokens.sign("shop", "robot", account["metadata"]["uid"], lifetime_seconds=600)
    status = (await reviews.token_review(info(), {"spec": {"token": token}}))["status"]
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:shop:robot"
    assert status["audiences"] == [CLUSTER_ISSUER]
    status = (await reviews.token_review(info(), {"spec": {"token": token, "audiences": ["vault"]}}))["status"]
    assert "authenticated" not in status and "audiences" in status["error"]
    status = (await reviews.token_review(info(), {"spec": {"token": "zzz"}}))["status"]
    assert status == {"user": {}, "error": "invalid bearer token"}

"""Audit policies: which rule decides, and what is wrong with a file."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.apiserver.audit.policy import AuditPolicyError, Level, Policy, Subject, parse


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return parse({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more})


def on(resource: str, verb: str = "get", *, user: str = "alice", groups: tuple[str, ...] = (), **more: str) -> Subject:
    plural, _, subresource = resource.partition("/")
    return Subject(user, groups, verb, "/x", True, resource=plural, subresource=subresource, **more)


def level(p: Policy, subject: Subject) -> Level:
    verdict = p.judge(subject)
    return verdict.level if verdict is not None else Level.NONE


def test_the_first_rule_that_matches_decides() -> None:
    p = policy(
        {"level": "None", "users": ["system:kube-proxy"], "verbs": ["watch"]},
        {"level": "RequestResponse", "userGroups": ["admins"], "resources": [{"group": "", "resources": ["pods"]}]},
        {"level": "Metadata"},
    )
    assert level(p, on("pods", "watch", user="system:kube-proxy")) == Level.NONE
    assert level(p, on("pods", user="system:kube-proxy")) == Level.METADATA
    assert level(p, on("pods", groups=("admins",))) == Level.REQUEST_RESPONSE
    assert level(p, on("pods", groups=("admins",), group="apps")) == Level.METADATA


def test_what_no_rule_matches_is_not_told() -> None:
    assert policy({"level": "Metadata", "verbs": ["create"]}).judge(on("pods")) is None


@pytest.mark.parametrize(
    ("wanted", "resource", "matches"),
    [
        ("pods", "pods", True),
        ("pods", "pods/log", False),
        ("pods/log", "pods/log", True),
        ("pods/*", "pods/log", True),
        ("pods/*", "pods", True),
        ("*/status", "pods/status", True),
        ("*/status", "pods", False),
        ("*", "pods/log", True),
    ],
)
def test_resources(wanted: str, resource: str, matches: bool) -> None:
    p = policy({"level": "Request", "resources": [{"resources": [wanted]}]})
    assert (level(p, on(resource)) == Level.REQUEST) is matches


def test_names_and_namespaces() -> None:
    p = policy(
        {"level": "Request", "resources": [{"resources": ["secrets"], "resourceNames": ["a"]}], "namespaces": ["x"]}
    )
    assert level(p, on("secrets", namespace="x", name="a")) == Level.REQUEST
    assert level(p, on("secrets", namespace="x", name="b")) == Level.NONE
    assert level(p, on("secrets", namespace="y", name="a")) == Level.NONE
    cluster = policy({"level": "Request", "namespaces": [""]})
    assert level(cluster, on("nodes", name="n")) == Level.REQUEST
    assert level(cluster, Subject("a", (), "get", "/healthz", False)) == Level.NONE


def test_paths() -> None:
    p = policy({"level": "Metadata", "nonResourceURLs": ["/healthz*", "/version"]})
    assert level(p, Subject("a", (), "get", "/healthz/ping", False)) == Level.METADATA
    assert level(p, Subject("a", (), "get", "/version", False)) == Level.METADATA
    assert level(p, Subject("a", (), "get", "/versions", False)) == Level.NONE
    assert level(p, on("pods")) == Level.NONE


def test_stages_and_managed_fields_of_policy_and_rule() -> None:
    p = policy(
        {"level": "Metadata", "verbs": ["get"], "omitStages": ["ResponseStarted"], "omitManagedFields": False},
        {"level": "Metadata"},
        omitStages=["RequestReceived"],
        omitManagedFields=True,
    )
    first, second = p.judge(on("pods")), p.judge(on("pods", "list"))
    assert first is not None and second is not None
    assert first.omit_stages == {"RequestReceived", "ResponseStarted"} and not first.omit_managed_fields
    assert second.omit_stages == {"RequestReceived"} and second.omit_managed_fields


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({}, "rules[0].level: Required value"),
        (
            {"level": "All"},
            'rules[0].level: Unsupported value: "All": supported values: "None", "Metadata", "Request", '
            '"RequestResponse"',
        ),
        (
            {"level": "Metadata", "nonResourceURLs": ["healthz"]},
            "rules[0].nonResourceURLs[0]: Invalid value: \"healthz\": non-resource URL rules must begin with a '/' "
            "character",
        ),
        (
            {"level": "Metadata", "nonResourceURLs": ["/a*b"]},
            "rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final "
            "character of the rule",
        ),
        (
            {"level": "Metadata", "resources": [{"resourceNames": ["a"]}]},
            'rules[0].resources.resourceNames: Invalid value: ["a"]: using resourceNames requires at least one '
            "resource",
        ),
        (
            {"level": "Metadata", "omitStages": ["End"]},
            'rules[0].omitStages[0]: Invalid value: "End": allowed stages are '
            "RequestReceived,ResponseStarted,ResponseComplete,Panic",
        ),
        (
            {"level": "Metadata", "namespaces": ["x"], "nonResourceURLs": ["/a"]},
            'rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and '
            "non-resource URLs",
        ),
        ({"level": "Metadata", "user": ["x"]}, 'strict decoding error: unknown field "rules[0].user"'),
    ],
)
def test_faults(rule: dict[str, Any], fault: str) -> None:
    with pytest.raises(AuditPolicyError) as refused:
        policy(rule)
    assert str(refused.value) == fault


def test_a_policy_without_rules_is_none() -> None:
    with pytest.raises(AuditPolicyError, match="0 rules"):
        policy()

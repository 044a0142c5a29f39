"""Audit policies: ``audit.k8s.io/v1 Policy`` files, and which of their rules a request falls under. Pure but for
`load`.

Source: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/; the first rule that matches decides, and
what no rule matches is not told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import yaml

from pybernetes.api import field, names
from pybernetes.api.field import FieldError
from pybernetes.api.meta import Object

REQUEST_RECEIVED = "RequestReceived"
RESPONSE_STARTED = "ResponseStarted"
RESPONSE_COMPLETE = "ResponseComplete"
PANIC = "Panic"
STAGES = (REQUEST_RECEIVED, RESPONSE_STARTED, RESPONSE_COMPLETE, PANIC)
_VERSION = "audit.k8s.io/v1"


class AuditPolicyError(ValueError):
    """The policy file cannot be used; the message says why."""


class Level(IntEnum):
    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


LEVELS = {
    "None": Level.NONE,
    "Metadata": Level.METADATA,
    "Request": Level.REQUEST,
    "RequestResponse": Level.REQUEST_RESPONSE,
}
LEVEL_NAMES = {level: name for name, level in LEVELS.items()}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a policy judges: a request, before anything of it is known but its head."""

    user: str
    groups: Sequence[str]
    verb: str
    path: str
    is_resource: bool
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a request is told about."""

    level: Level
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


@dataclass(frozen=True, slots=True)
class _Resources:
    group: str
    resources: tuple[str, ...]
    names: frozenset[str]

    def matches(self, s: Subject) -> bool:
        if self.group != s.group:
            return False
        if not self.resources:
            return True
        if self.names and s.name not in self.names:
            return False
        whole = f"{s.resource}/{s.subresource}" if s.subresource else s.resource
        for wanted in self.resources:
            if wanted in (whole, "*"):
                return True
            if s.subresource and wanted == f"*/{s.subresource}":
                return True
            if wanted == f"{s.resource}/*":
                return True
        return False


@dataclass(frozen=True, slots=True)
class _Rule:
    verdict: Verdict
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    namespaces: frozenset[str]
    resources: tuple[_Resources, ...]
    urls: tuple[str, ...]

    def matches(self, s: Subject) -> bool:
        if self.users and s.user not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(s.groups):
            return False
        if self.verbs and s.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            if not s.is_resource or (self.namespaces and s.namespace not in self.namespaces):
                return False
            return not self.resources or any(r.matches(s) for r in self.resources)
        if self.urls:
            return not s.is_resource and any(_path_matches(s.path, url) for url in self.urls)
        return True


def _path_matches(path: str, wanted: str) -> bool:
    return wanted in ("*", path) or (wanted.endswith("*") and path.startswith(wanted.rstrip("*")))


class Policy:
    """A policy, compiled."""

    def __init__(self, rules: Sequence[_Rule]) -> None:
        self._rules = tuple(rules)

    def judge(self, subject: Subject) -> Verdict | None:
        """How the request is told about; None for not at all."""
        for rule in self._rules:
            if rule.matches(subject):
                return rule.verdict if rule.verdict.level else None
        return None


def load(path: Path) -> Policy:
    """The policy in a file, YAML or JSON. Raises `AuditPolicyError`, OSError."""
    try:
        body = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AuditPolicyError(f"failed decoding file {path}: {error}") from error
    try:
        return parse(body)
    except AuditPolicyError as error:
        raise AuditPolicyError(f"invalid audit policy in {path}: {error}") from error


def parse(body: Any) -> Policy:
    """Raises `AuditPolicyError`."""
    if not isinstance(body, dict) or body.get("kind") != "Policy":
        raise AuditPolicyError(f"not a Policy of {_VERSION}")
    if body.get("apiVersion") != _VERSION:
        raise AuditPolicyError(f'no kind "Policy" is registered for version "{body.get("apiVersion")}"')
    _check(body, {"apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"}, "")
    rules = body.get("rules") or []
    if not isinstance(rules, list) or not all(isinstance(r, dict) for r in rules):
        raise AuditPolicyError("rules: a list of objects is wanted")
    for i, rule in enumerate(rules):
        _check(rule, _RULE_FIELDS, f"rules[{i}].")
    if not rules:
        raise AuditPolicyError(f"loaded illegal policy with 0 rules from a {_VERSION} Policy")
    faults = validate(body)
    if faults:
        raise AuditPolicyError("; ".join(str(f) for f in faults))
    everywhere = frozenset(body.get("omitStages") or ())
    omit_fields = bool(body.get("omitManagedFields"))
    return Policy([_rule(r, everywhere, omit_fields) for r in rules])


_RULE_FIELDS = {
    "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages",
    "omitManagedFields",
}  # fmt: skip


def _check(body: Mapping[str, Any], known: set[str], at: str) -> None:
    unknown = sorted(str(key) for key in body.keys() - known)
    if unknown:
        raise AuditPolicyError("strict decoding error: " + ", ".join(f'unknown field "{at}{u}"' for u in unknown))


def _rule(rule: Object, everywhere: frozenset[str], omit_fields: bool) -> _Rule:
    omit = rule.get("omitManagedFields")
    verdict = Verdict(
        LEVELS[rule["level"]],
        everywhere | frozenset(rule.get("omitStages") or ()),
        omit_fields if omit is None else bool(omit),
    )
    return _Rule(
        verdict,
        frozenset(rule.get("users") or ()),
        frozenset(rule.get("userGroups") or ()),
        frozenset(rule.get("verbs") or ()),
        frozenset(rule.get("namespaces") or ()),
        tuple(
            _Resources(r.get("group") or "", tuple(r.get("resources") or ()), frozenset(r.get("resourceNames") or ()))
            for r in rule.get("resources") or ()
        ),
        tuple(rule.get("nonResourceURLs") or ()),
    )


def validate(body: Object) -> list[FieldError]:
    """Every fault of a policy's rules, worded as upstream."""
    faults: list[FieldError] = []
    for i, rule in enumerate(body.get("rules") or ()):
        at = field.Path("rules").index(i)
        level = rule.get("level") or ""
        if not level:
            faults.append(field.required(at.child("level")))
        elif level not in LEVELS:
            faults.append(field.not_supported(at.child("level"), level, LEVELS))
        urls = rule.get("nonResourceURLs") or []
        for j, url in enumerate(urls):
            if url == "*":
                continue
            if not url.startswith("/"):
                text = "non-resource URL rules must begin with a '/' character"
                faults.append(field.invalid(at.child("nonResourceURLs").index(j), url, text))
            if "*" in url[:-1]:
                text = "non-resource URL wildcards '*' must be the final character of the rule"
                faults.append(field.invalid(at.child("nonResourceURLs").index(j), url, text))
        faults += _resource_faults(rule.get("resources") or (), at.child("resources"))
        for j, stage in enumerate(rule.get("omitStages") or ()):
            if stage not in STAGES:
                text = "allowed stages are " + ",".join(STAGES)
                faults.append(field.invalid(at.child("omitStages").index(j), stage, text))
        if urls and (rule.get("resources") or rule.get("namespaces")):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            faults.append(field.invalid(at.child("nonResourceURLs"), urls, text))
    return faults


def _resource_faults(resources: Sequence[Object], at: field.Path) -> list[FieldError]:
    faults: list[FieldError] = []
    for resource in resources:
        group = resource.get("group") or ""
        if group and (messages := names.dns_subdomain(group)):
            faults.append(field.invalid(at.child("group"), group, ",".join(messages)))
        if resource.get("resourceNames") and not resource.get("resources"):
            text = "using resourceNames requires at least one resource"
            faults.append(field.invalid(at.child("resourceNames"), resource["resourceNames"], text))
    return faults

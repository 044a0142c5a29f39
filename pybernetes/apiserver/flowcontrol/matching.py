"""Which FlowSchema a request belongs to. Pure.

Source: upstream's ``pkg/util/flowcontrol/rule.go``: the first schema that matches, by precedence, then by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pybernetes.api.meta import Object, name_of
from pybernetes.api.user import User

_ALL = "*"
_ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Digest:
    """What of a request the schemas judge. `resource` is ``plural`` or ``plural/subresource``, empty for a path."""

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    path: str = ""


def in_order(schemas: Iterable[Object]) -> list[Object]:
    """The schemas as they are to be tried."""
    return sorted(schemas, key=lambda s: (int((s.get("spec") or {}).get("matchingPrecedence") or 0), name_of(s)))


def matches(schema: Object, digest: Digest) -> bool:
    return any(_rule_matches(rule, digest) for rule in (schema.get("spec") or {}).get("rules") or ())


def _rule_matches(rule: Object, digest: Digest) -> bool:
    if not any(_is_subject(subject, digest.user) for subject in rule.get("subjects") or ()):
        return False
    if digest.resource:
        return any(_resource_matches(r, digest) for r in rule.get("resourceRules") or ())
    return any(_path_matches(r, digest) for r in rule.get("nonResourceRules") or ())


def _is_subject(subject: Object, user: User) -> bool:
    match subject.get("kind"):
        case "User":
            return ((subject.get("user") or {}).get("name") or "") in (_ALL, user.name)
        case "Group":
            name = (subject.get("group") or {}).get("name")
            return name == _ALL or name in user.groups
        case "ServiceAccount":
            account = subject.get("serviceAccount") or {}
            namespace, name = account.get("namespace") or "", account.get("name") or ""
            if name == _ALL:
                return user.name.startswith(f"{_ACCOUNT_PREFIX}{namespace}:")
            return user.name == f"{_ACCOUNT_PREFIX}{namespace}:{name}"
    return False


def _has(values: Sequence[str], value: str) -> bool:
    return value in values or list(values) == [_ALL]


def _resource_matches(rule: Object, digest: Digest) -> bool:
    if not (
        _has(rule.get("verbs") or (), digest.verb)
        and _has(rule.get("resources") or (), digest.resource)
        and _has(rule.get("apiGroups") or (), digest.group)
    ):
        return False
    if not digest.namespace:
        return bool(rule.get("clusterScope"))
    return _has(rule.get("namespaces") or (), digest.namespace)


def _path_matches(rule: Object, digest: Digest) -> bool:
    return _has(rule.get("verbs") or (), digest.verb) and any(
        _is_below(path, digest.path) for path in rule.get("nonResourceURLs") or ()
    )


def _is_below(rule_path: str, path: str) -> bool:
    """Whether a rule's path names this one: itself, or whatever lies below it."""
    if rule_path in (_ALL, path):
        return True
    prefix = rule_path.removesuffix("*")
    return path.startswith(prefix if prefix.endswith("/") else prefix + "/")

"""Flow schemas and priority levels.

Source of defaults, rules and texts: ``pkg/apis/flowcontrol``.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, UNAUTHENTICATED

MATCHING_PRECEDENCE = 1000
MAX_MATCHING_PRECEDENCE = 10000
SHARES = 30
QUEUES, HAND_SIZE, QUEUE_LENGTH = 64, 8, 50
MAX_QUEUES = 10_000_000
MAX_HASH_BITS = 60
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def _everything(*groups: str) -> list[Object]:
    return [
        {
            "subjects": [{"kind": "Group", "group": {"name": group}} for group in groups],
            "resourceRules": [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
            ],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }
    ]


MANDATORY_SCHEMAS: dict[str, Object] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": _everything(SYSTEM_MASTERS),
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": MAX_MATCHING_PRECEDENCE,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _everything(UNAUTHENTICATED, AUTHENTICATED),
    },
}
"""What the two flow schemas that must exist say, and nothing else."""

MANDATORY_LEVELS: dict[str, Object] = {
    "exempt": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
    },
}


class FlowSchemaStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {}

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = MATCHING_PRECEDENCE

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec, name = obj.get("spec") or {}, name_of(obj)
        at, precedence = "spec.matchingPrecedence", spec.get("matchingPrecedence") or 0
        if precedence <= 0:
            faults.invalid(at, precedence, "must be a positive value")
        if precedence > MAX_MATCHING_PRECEDENCE:
            faults.invalid(at, precedence, f"must not be greater than {MAX_MATCHING_PRECEDENCE}")
        if precedence == 1 and name != "exempt":
            faults.invalid(at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
        method = spec.get("distinguisherMethod")
        if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
            faults.not_supported("spec.distinguisherMethod.type", method, ("ByNamespace", "ByUser"))
        level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
        at = "spec.priorityLevelConfiguration.name"
        if level:
            faults.each(at, level, names.dns_subdomain(level))
        else:
            faults.required(at, "must reference a priority level")
        for i, rule in enumerate(spec.get("rules") or ()):
            _rule(faults, f"spec.rules[{i}]", rule)
        mandatory = MANDATORY_SCHEMAS.get(name)
        if mandatory is not None and not semantic_equal(spec, mandatory):
            faults.invalid("spec", spec, f"spec of '{name}' must equal the fixed value")
        _conditions(faults, obj)
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self.validate_create(obj)


def _conditions(faults: Faults, obj: Object) -> None:
    seen: set[str] = set()
    for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        at, kind = f"status.conditions[{i}].type", condition.get("type") or ""
        if kind in seen:
            faults.duplicate(at, kind)
        seen.add(kind)
        if not kind:
            faults.required(at, "must not be empty")


def _rule(faults: Faults, path: str, rule: Object) -> None:
    subjects = rule.get("subjects") or ()
    if not subjects:
        faults.required(f"{path}.subjects", "subjects must contain at least one value")
    for i, subject in enumerate(subjects):
        _subject(faults, f"{path}.subjects[{i}]", subject)
    resource_rules, other = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resource_rules and not other:
        faults.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for i, item in enumerate(resource_rules):
        _resource_rule(faults, f"{path}.resourceRules[{i}]", item)
    for i, item in enumerate(other):
        at = f"{path}.nonResourceRules[{i}]"
        _verbs(faults, f"{at}.verbs", item.get("verbs") or [])
        urls = item.get("nonResourceURLs") or []
        if not urls:
            faults.required(f"{at}.nonResourceURLs", "nonResourceURLs must contain at least one value")
        elif "*" in urls:
            _alone(faults, f"{at}.nonResourceURLs", urls, "non-resource URLs")
        else:
            for j, url in enumerate(urls):
                _url(faults, f"{at}.nonResourceURLs[{j}]", url)


def _subject(faults: Faults, path: str, subject: Object) -> None:
    kind = subject.get("kind") or ""
    field = _SUBJECTS.get(kind)
    if field is None:
        faults.not_supported(f"{path}.kind", kind, _SUBJECTS)
        return
    at, value = f"{path}.{field}", subject.get(field)
    if value is None:
        faults.required(at, f"{field} is required when subject kind is '{kind}'")
    elif not value.get("name"):
        faults.required(f"{at}.name")
    elif kind == "ServiceAccount" and value["name"] != "*":
        faults.each(f"{at}.name", value["name"], names.dns_subdomain(value["name"]))
    if kind == "ServiceAccount" and value is not None:
        namespace = value.get("namespace") or ""
        if namespace:
            faults.each(f"{at}.namespace", namespace, names.dns_label(namespace))
        else:
            faults.required(f"{at}.namespace", "must specify namespace for service account")
    for other, wrong in (("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")):
        if wrong != field and subject.get(wrong) is not None:
            faults.forbidden(f"{path}.{wrong}", f"{wrong} is forbidden when subject kind is not '{other}'")


def _resource_rule(faults: Faults, path: str, rule: Object) -> None:
    _verbs(faults, f"{path}.verbs", rule.get("verbs") or [])
    for field, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        values = rule.get(field) or []
        if not values:
            faults.required(f"{path}.{field}", f"resource rules must supply at least one {one}")
        elif "*" in values:
            _alone(faults, f"{path}.{field}", values, many)
    at, namespaces = f"{path}.namespaces", rule.get("namespaces") or []
    if not namespaces:
        if not rule.get("clusterScope"):
            faults.required(at, "resource rules that are not cluster scoped must supply at least one namespace")
    elif "*" in namespaces:
        _alone(faults, at, namespaces, "namespaces")
    else:
        for i, namespace in enumerate(namespaces):
            for message in names.dns_label(namespace):
                faults.invalid(
                    f"{at}[{i}]", namespace, f"each member of this list must be '*' or a DNS-1123 label; {message}"
                )


def _verbs(faults: Faults, path: str, verbs: list[str]) -> None:
    if not verbs:
        faults.required(path, "verbs must contain at least one value")
    elif "*" in verbs:
        _alone(faults, path, verbs, "verbs")
    elif not set(verbs) <= set(VERBS):
        faults.not_supported(path, verbs, VERBS)


def _alone(faults: Faults, path: str, values: Collection[str], what: str) -> None:
    if len(values) > 1:
        faults.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _url(faults: Faults, path: str, url: str) -> None:
    """The first thing that is wrong with the path of a request."""
    stars = url.count("*")
    if not url:
        faults.invalid(path, url, "must not be empty")
    elif url == "/":
        return
    elif not url.startswith("/"):
        faults.invalid(path, url, "must start with slash")
    elif " " in url:
        faults.invalid(path, url, "must not contain white-space")
    elif "//" in url:
        faults.invalid(path, url, "must not contain double slash")
    elif stars > 1 or (stars and not url.endswith("/*")):
        faults.invalid(path, url, "wildcard can only do suffix matching")


class PriorityLevelConfigurationStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {}

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("type") == "Exempt":
            exempt = spec.setdefault("exempt", {})
            for name in ("nominalConcurrencyShares", "lendablePercent"):
                if exempt.get(name) is None:
                    exempt[name] = 0
            return
        limited = spec.get("limited")
        if limited is None:
            return
        for name, value in (("nominalConcurrencyShares", SHARES), ("lendablePercent", 0)):
            if limited.get(name) is None:
                limited[name] = value
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for name, value in (("queues", QUEUES), ("handSize", HAND_SIZE), ("queueLengthLimit", QUEUE_LENGTH)):
                if not queuing.get(name):
                    queuing[name] = value

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec, name = obj.get("spec") or {}, name_of(obj)
        kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
        if (name == "exempt") != (kind == "Exempt"):
            faults.invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'")
        if kind == "Exempt":
            if limited is not None:
                faults.forbidden("spec.limited", "must be nil if the type is not Limited")
            if exempt is not None:
                _shares(faults, "spec.exempt", exempt)
        elif kind == "Limited":
            if exempt is not None:
                faults.forbidden("spec.exempt", "must be nil if the type is Limited")
            if limited is None:
                faults.required("spec.limited", "must not be empty when type is Limited")
            else:
                _limited(faults, "spec.limited", limited)
        else:
            faults.not_supported("spec.type", kind, ("Exempt", "Limited"))
        mandatory = MANDATORY_LEVELS.get(name)
        if mandatory is not None:
            # The exempt level's own settings are the administrator's.
            free = ("exempt",) if name == "exempt" else ()
            now, fixed = ({k: v for k, v in part.items() if k not in free} for part in (spec, mandatory))
            if not semantic_equal(now, fixed):
                but = "except the 'spec.exempt' field " if free else ""
                faults.invalid("spec", spec, f"spec of '{name}' {but}must equal the fixed value")
        _conditions(faults, obj)
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self.validate_create(obj)


def _shares(faults: Faults, path: str, part: Object) -> None:
    shares, percent = part.get("nominalConcurrencyShares"), part.get("lendablePercent")
    if shares is not None and shares < 0:
        faults.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if percent is not None and not 0 <= percent <= 100:
        faults.invalid(f"{path}.lendablePercent", percent, "must be between 0 and 100, inclusive")


def _limited(faults: Faults, path: str, limited: Object) -> None:
    shares = limited.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        faults.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    _limit_response(faults, f"{path}.limitResponse", limited.get("limitResponse") or {})
    _shares(faults, path, {"lendablePercent": limited.get("lendablePercent")})
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        faults.invalid(f"{path}.borrowingLimitPercent", borrowing, "if specified, must be a non-negative integer")


def _limit_response(faults: Faults, path: str, response: Object) -> None:
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            faults.forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif kind == "Queue":
        if queuing is None:
            faults.required(f"{path}.queuing", "must not be empty if limited.limitResponse.type is Limited")
        else:
            _queuing(faults, f"{path}.queuing", queuing)
    else:
        faults.not_supported(f"{path}.type", kind, ("Queue", "Reject"))


def _queuing(faults: Faults, path: str, queuing: Object) -> None:
    length, queues, hand = (queuing.get(k) or 0 for k in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        faults.invalid(f"{path}.queueLengthLimit", length, "must be positive")
    if queues <= 0:
        faults.invalid(f"{path}.queues", queues, "must be positive")
    elif queues > MAX_QUEUES:
        faults.invalid(f"{path}.queues", queues, f"must not be greater than {MAX_QUEUES}")
    if hand <= 0:
        faults.invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        faults.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif math.ceil(math.log2(queues) * hand) > MAX_HASH_BITS:
        faults.invalid(
            f"{path}.handSize",
            hand,
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than "
            f"{MAX_HASH_BITS}",
        )

"""Flow schemas and priority levels.

Source of defaults, rules and texts: ``pkg/apis/flowcontrol``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of

MATCHING_PRECEDENCE = 1000
MAX_MATCHING_PRECEDENCE = 10000
SHARES = 30
QUEUES, HAND_SIZE, QUEUE_LENGTH = 64, 8, 50


class FlowSchemaStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {}

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = MATCHING_PRECEDENCE

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        precedence = spec.get("matchingPrecedence") or 0
        if not 1 <= precedence <= MAX_MATCHING_PRECEDENCE:
            faults.invalid("spec.matchingPrecedence", precedence, f"must not be greater than {MAX_MATCHING_PRECEDENCE}"
                           if precedence > 0 else "must be a positive value")  # fmt: skip
        if precedence == 1 and name_of(obj) != "exempt":
            faults.invalid(
                "spec.matchingPrecedence", precedence, "only the schema named 'exempt' may have matchingPrecedence 1"
            )
        if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
            faults.required("spec.priorityLevelConfiguration.name", "must reference a priority level")
        method = spec.get("distinguisherMethod")
        if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
            faults.not_supported("spec.distinguisherMethod", method, ("ByNamespace", "ByUser"))
        for i, rule in enumerate(spec.get("rules") or ()):
            _rule(faults, f"spec.rules[{i}]", rule)
        return faults


def _rule(faults: Faults, path: str, rule: Object) -> None:
    subjects = rule.get("subjects") or ()
    if not subjects:
        faults.required(f"{path}.subjects", "subjects must contain at least one value")
    for i, subject in enumerate(subjects):
        kind = subject.get("kind") or ""
        field = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}.get(kind)
        if field is None:
            faults.not_supported(f"{path}.subjects[{i}].kind", kind, ("Group", "ServiceAccount", "User"))
        elif subject.get(field) is None:
            faults.required(f"{path}.subjects[{i}].{field}", f"{field} is required when subject kind is '{kind}'")
    resource_rules, other = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resource_rules and not other:
        faults.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for i, item in enumerate(resource_rules):
        for field in ("verbs", "apiGroups", "resources"):
            if not item.get(field):
                faults.required(f"{path}.resourceRules[{i}].{field}")
        if not item.get("namespaces") and not item.get("clusterScope"):
            faults.required(
                f"{path}.resourceRules[{i}].namespaces",
                "resource rules that are not cluster scoped must supply at least one namespace",
            )
    for i, item in enumerate(other):
        for field in ("verbs", "nonResourceURLs"):
            if not item.get(field):
                faults.required(f"{path}.nonResourceRules[{i}].{field}")


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
        spec = obj.get("spec") or {}
        kind, limited, exempt = spec.get("type"), spec.get("limited"), spec.get("exempt")
        if kind not in ("Exempt", "Limited"):
            faults.one_of("spec.type", kind, ("Exempt", "Limited"))
        elif kind == "Exempt":
            if limited is not None:
                faults.forbidden("spec.limited", "must be nil if the type is not Limited")
        else:
            if exempt is not None:
                faults.forbidden("spec.exempt", "must be nil if the type is Limited")
            if limited is None:
                faults.required("spec.limited", "must not be empty when type is Limited")
            else:
                _limited(faults, "spec.limited", limited)
        return faults


def _limited(faults: Faults, path: str, limited: Object) -> None:
    faults.not_negative(f"{path}.nominalConcurrencyShares", limited.get("nominalConcurrencyShares"))
    percent = limited.get("lendablePercent") or 0
    if not 0 <= percent <= 100:
        faults.invalid(f"{path}.lendablePercent", percent, "must be between 0 and 100, inclusive")
    response = limited.get("limitResponse") or {}
    kind, queuing = response.get("type"), response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            faults.forbidden(
                f"{path}.limitResponse.queuing", "must be nil if limited.limitResponse.type is not Limited"
            )
    elif kind == "Queue":
        if queuing is None:
            faults.required(
                f"{path}.limitResponse.queuing", "must not be empty if limited.limitResponse.type is Limited"
            )
            return
        for name in ("queueLengthLimit", "queues", "handSize"):
            if (queuing.get(name) or 0) <= 0:
                faults.invalid(f"{path}.limitResponse.queuing.{name}", queuing.get(name) or 0, "must be positive")
        if (queuing.get("handSize") or 0) > (queuing.get("queues") or 0):
            faults.invalid(
                f"{path}.limitResponse.queuing.handSize",
                queuing.get("handSize"),
                f"should not be greater than queues ({queuing.get('queues') or 0})",
            )
    else:
        faults.one_of(f"{path}.limitResponse.type", kind, ("Queue", "Reject"))

"""Validation of what steers scheduling: affinity, tolerations, topology spread constraints, gates.

Source of rules and texts: ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api import names
from pybernetes.api.kinds.faults import NOT_POSITIVE, Faults
from pybernetes.api.kinds.labels import label_name, label_selector, node_selector, node_selector_term
from pybernetes.api.meta import Object

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"


def affinity(faults: Faults, path: str, value: Object) -> None:
    node = value.get("nodeAffinity")
    if node:
        at = f"{path}.nodeAffinity"
        if node.get(_REQUIRED) is not None:
            node_selector(faults, f"{at}.{_REQUIRED}", node[_REQUIRED])
        for i, term in enumerate(node.get(_PREFERRED) or ()):
            _weight(faults, f"{at}.{_PREFERRED}[{i}].weight", term)
            node_selector_term(
                faults, f"{at}.{_PREFERRED}[{i}].preference", term.get("preference") or {}, check_values=False
            )
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = value.get(kind)
        if not pods:
            continue
        at = f"{path}.{kind}"
        for i, term in enumerate(pods.get(_REQUIRED) or ()):
            _pod_affinity_term(faults, f"{at}.{_REQUIRED}[{i}]", term)
        for i, weighted in enumerate(pods.get(_PREFERRED) or ()):
            _weight(faults, f"{at}.{_PREFERRED}[{i}].weight", weighted)
            _pod_affinity_term(faults, f"{at}.{_PREFERRED}[{i}].podAffinityTerm", weighted.get("podAffinityTerm") or {})


def _weight(faults: Faults, path: str, term: Object) -> None:
    weight = term.get("weight") or 0
    if not 1 <= weight <= 100:
        faults.invalid(path, weight, _WEIGHT)


def _pod_affinity_term(faults: Faults, path: str, term: Object) -> None:
    selector = term.get("labelSelector")
    label_selector(faults, f"{path}.labelSelector", selector)
    label_selector(faults, f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        faults.each(f"{path}.namespace", namespace, names.dns_label(namespace))
    match, mismatch = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    _label_keys(faults, f"{path}.matchLabelKeys", match, selector)
    _label_keys(faults, f"{path}.mismatchLabelKeys", mismatch, selector)
    if match:
        _key_selected_twice(faults, path, match, selector)
    for i, key in enumerate(match):
        if key in mismatch:
            faults.invalid(f"{path}.matchLabelKeys[{i}]", key, "exists in both matchLabelKeys and mismatchLabelKeys")
    key = term.get("topologyKey") or ""
    if not key:
        faults.required(f"{path}.topologyKey", "can not be empty")
    label_name(faults, f"{path}.topologyKey", key)


def _key_selected_twice(faults: Faults, path: str, keys: Any, selector: Object | None) -> None:
    """A key of matchLabelKeys must not be in the selector: but for once, since creation has put it there."""
    if selector is None:
        return
    seen = set(selector.get("matchLabels") or ())
    for expression in selector.get("matchExpressions") or ():
        key = expression.get("key")
        if key in keys and key in seen:
            faults.invalid(f"{path}[{list(keys).index(key)}]", key, "exists in both matchLabelKeys and labelSelector")
        seen.add(key)


def _label_keys(faults: Faults, path: str, keys: Any, selector: Object | None) -> None:
    if keys and selector is None:
        faults.forbidden(path, "must not be specified when labelSelector is not set")
        return
    for i, key in enumerate(keys):
        label_name(faults, f"{path}[{i}]", key)


def tolerations(faults: Faults, path: str, items: list[Object]) -> None:
    for i, toleration in enumerate(items):
        at = f"{path}[{i}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            label_name(faults, f"{at}.key", key)
        elif operator != "Exists":
            faults.invalid(
                f"{at}.operator",
                operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            faults.invalid(f"{at}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if operator in ("Equal", ""):
            messages = names.label_value(value)
            if messages:
                faults.invalid(f"{at}.operator", value, ";".join(messages))
        elif operator == "Exists":
            if value:
                faults.invalid(f"{at}.operator", value, "value must be empty when `operator` is 'Exists'")
        else:
            faults.not_supported(f"{at}.operator", operator, ("Equal", "Exists"))
        if effect:
            taint_effect(faults, f"{at}.effect", effect)


def taint_effect(faults: Faults, path: str, effect: str) -> None:
    if effect not in TAINT_EFFECTS:
        faults.not_supported(path, effect, TAINT_EFFECTS)


def topology_spread_constraints(faults: Faults, path: str, items: list[Object]) -> None:
    for i, constraint in enumerate(items):
        at = f"{path}[{i}]"
        skew, key = constraint.get("maxSkew") or 0, constraint.get("topologyKey") or ""
        action, selector = constraint.get("whenUnsatisfiable") or "", constraint.get("labelSelector")
        if skew <= 0:
            faults.invalid(f"{at}.maxSkew", skew, NOT_POSITIVE)
        if not key:
            faults.required(f"{at}.topologyKey", "can not be empty")
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            faults.not_supported(f"{at}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        for other in items[i + 1 :]:
            if (other.get("topologyKey") or "") == key and (other.get("whenUnsatisfiable") or "") == action:
                faults.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
                break
        domains = constraint.get("minDomains")
        if domains is not None:
            if domains <= 0:
                faults.invalid(f"{at}.minDomains", domains, NOT_POSITIVE)
            if action != "DoNotSchedule":
                faults.invalid(
                    f"{at}.minDomains",
                    domains,
                    f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}",
                )
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(name)
            if policy is not None and policy not in ("Honor", "Ignore"):
                faults.not_supported(f"{at}.{name}", policy, ("Honor", "Ignore"))
        keys = constraint.get("matchLabelKeys") or ()
        if keys:
            if selector is None:
                faults.forbidden(f"{at}.matchLabelKeys", "must not be specified when labelSelector is not set")
            for j, name in enumerate(keys):
                label_name(faults, f"{at}.matchLabelKeys[{j}]", name)
            _key_selected_twice(faults, f"{at}.matchLabelKeys", keys, selector)
        label_selector(faults, f"{at}.labelSelector", selector)


def scheduling_gates(faults: Faults, path: str, gates: list[Object]) -> None:
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        name = gate.get("name") or ""
        faults.each(f"{path}[{i}]", name, names.qualified_name(name))
        if name in seen:
            faults.duplicate(f"{path}[{i}]", name)
        seen.add(name)

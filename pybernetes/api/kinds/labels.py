"""Validation of labels, annotations, label selectors and node selectors, wherever an object carries them.

Source of rules and texts: ``k8s.io/apimachinery/pkg/apis/meta/v1/validation`` and ``pkg/apis/core/validation``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pybernetes.api import names, selectors
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object

ANNOTATIONS_LIMIT_BYTES = 256 * 1024

# The same few keys and values come with nearly every object; bounded, since users choose them.
_qualified_name = lru_cache(maxsize=4096)(lambda value: tuple(names.qualified_name(value)))
_label_value = lru_cache(maxsize=4096)(lambda value: tuple(names.label_value(value)))


def label_name(faults: Faults, path: str, name: str) -> None:
    faults.each(path, name, _qualified_name(name))


_good_maps: set[tuple[tuple[str, str], ...]] = set()
_good_keys: set[tuple[str, ...]] = set()
"""Labels, and the keys of annotations, that had no fault: objects of one template bring the same ones."""
_KEPT_MAX = 4096
_MEMBERS_MAX = 16


def _keep(known: set[Any], one: Any) -> None:
    if len(known) >= _KEPT_MAX:
        known.clear()
    known.add(one)


def label_map(faults: Faults, path: str, values: Mapping[str, str] | None) -> None:
    if not values:
        return
    items = tuple(values.items())
    if items in _good_maps:
        return
    before = len(faults)
    for key, value in items:
        faults.each(path, key, _qualified_name(key))
        faults.each(path, value, _label_value(value))
    # Good ones are short: names and values have a bound.
    if len(faults) == before and len(items) <= _MEMBERS_MAX:
        _keep(_good_maps, items)


def annotation_map(faults: Faults, path: str, values: Mapping[str, str] | None) -> None:
    if not values:
        return
    keys, before = tuple(values), len(faults)
    if keys not in _good_keys:
        for key in keys:
            # Annotation keys may have upper case where label keys may not: upstream lowers them first.
            faults.each(path, key, _qualified_name(key.lower()))
        if len(faults) == before and len(keys) <= _MEMBERS_MAX:
            _keep(_good_keys, keys)
    total = 0
    for key, value in values.items():
        total += len(key.encode()) + len(value.encode())
    if total > ANNOTATIONS_LIMIT_BYTES:
        faults.too_long(path, ANNOTATIONS_LIMIT_BYTES)


def label_selector(faults: Faults, path: str, selector: Object | None) -> None:
    """A LabelSelector; an absent one is no fault."""
    if not selector:
        return
    label_map(faults, f"{path}.matchLabels", selector.get("matchLabels"))
    for i, requirement in enumerate(selector.get("matchExpressions") or ()):
        _requirement(faults, f"{path}.matchExpressions[{i}]", requirement)


def _requirement(faults: Faults, path: str, requirement: Object) -> None:
    operator = requirement.get("operator") or ""
    values = requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            faults.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            faults.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    else:
        faults.invalid(f"{path}.operator", operator, "not a valid selector operator")
    label_name(faults, f"{path}.key", requirement.get("key") or "")
    for i, value in enumerate(values):
        faults.each(f"{path}.values[{i}]", value, _label_value(value))


def is_empty_selector(selector: Object | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def is_valid_selector(selector: Object | None) -> bool:
    """Whether a LabelSelector can be evaluated; an absent one can, and selects nothing."""
    try:
        selectors.from_label_selector(selector)
    except selectors.SelectorError:
        return False
    return True


def selector_matches(selector: Object | None, values: Mapping[str, str] | None) -> bool:
    """Whether a LabelSelector selects something with these labels; an absent or invalid one selects nothing."""
    try:
        return selectors.from_label_selector(selector).matches(values)
    except selectors.SelectorError:
        return False


# Node selectors


def node_selector(faults: Faults, path: str, selector: Object) -> None:
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        faults.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for i, term in enumerate(terms):
        node_selector_term(faults, f"{path}.nodeSelectorTerms[{i}]", term)


def node_selector_term(faults: Faults, path: str, term: Object, *, check_values: bool = True) -> None:
    for i, requirement in enumerate(term.get("matchExpressions") or ()):
        _node_requirement(faults, f"{path}.matchExpressions[{i}]", requirement, check_values)
    for i, requirement in enumerate(term.get("matchFields") or ()):
        _node_field_requirement(faults, f"{path}.matchFields[{i}]", requirement)


def _node_requirement(faults: Faults, path: str, requirement: Object, check_values: bool) -> None:
    operator = requirement.get("operator") or ""
    values: Any = requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            faults.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            faults.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            faults.required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        faults.invalid(f"{path}.operator", operator, "not a valid selector operator")
    label_name(faults, f"{path}.key", requirement.get("key") or "")
    if check_values:
        for i, value in enumerate(values):
            faults.each(f"{path}.values[{i}]", value, _label_value(value))


def _node_field_requirement(faults: Faults, path: str, requirement: Object) -> None:
    operator = requirement.get("operator") or ""
    values = requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            faults.required(
                f"{path}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
    else:
        faults.invalid(f"{path}.operator", operator, "not a valid selector operator")
    key = requirement.get("key") or ""
    if key != "metadata.name":
        faults.invalid(f"{path}.key", key, "not a valid field selector key")
        return
    for i, value in enumerate(values):
        faults.each(f"{path}.values[{i}]", value, names.dns_subdomain(value))

"""The rules of an aggregated ClusterRole. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pybernetes.api.meta import Object, labels_of, name_of
from pybernetes.controllers.selection import matcher


def is_aggregated(role: Object) -> bool:
    return bool((role.get("aggregationRule") or {}).get("clusterRoleSelectors"))


def aggregated_rules(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules of all selected roles, in order of selectors and names, each once."""
    by_name = sorted(roles, key=name_of)
    rules: list[Object] = []
    for selector in role["aggregationRule"]["clusterRoleSelectors"]:
        matches = matcher(selector)
        for other in by_name:
            if name_of(other) != name_of(role) and matches(labels_of(other)):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules

"""Node selectors and label selectors as vector operations over a `NodeTable`."""

from __future__ import annotations

import numpy as np

from pybernetes.api.meta import Object, name_of
from pybernetes.scheduler.framework import Mask
from pybernetes.scheduler.nodes import NodeTable


def match_labels(table: NodeTable, labels: dict[str, str]) -> Mask:
    """Nodes that have all the labels (``spec.nodeSelector``)."""
    mask = table.active.copy()
    for key, value in labels.items():
        mask &= table.label(key) == table.value_id(value)
    return mask


def _match_expression(table: NodeTable, expression: Object) -> Mask:
    column = table.label(expression["key"])
    operator, values = expression["operator"], expression.get("values") or []
    if operator == "Exists":
        return column >= 0
    if operator == "DoesNotExist":
        return column < 0
    if operator in ("In", "NotIn"):
        found = np.isin(column, [table.value_id(v) for v in values])
        return found if operator == "In" else ~found
    # Gt and Lt compare integers; a label that is none never matches.
    try:
        bound = int(values[0])
    except (ValueError, IndexError):
        return np.zeros(column.shape, dtype=bool)
    numbers = {i: _integer(table.values[i]) for i in {int(v) for v in np.unique(column)} if i >= 0}
    good = [i for i, n in numbers.items() if n is not None and (n > bound if operator == "Gt" else n < bound)]
    return np.isin(column, good)


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _match_field(table: NodeTable, expression: Object) -> Mask:
    """Field selectors know ``metadata.name`` only, with In and NotIn of one value."""
    values = set(expression.get("values") or ())
    mask = np.fromiter((row is not None and name_of(row.node) in values for row in table.rows), dtype=bool)
    return mask if expression["operator"] == "In" else ~mask


def match_term(table: NodeTable, term: Object) -> Mask:
    """Nodes that one node selector term holds for: all its expressions; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return np.zeros(table.active.shape, dtype=bool)
    mask = table.active.copy()
    for expression in expressions:
        mask &= _match_expression(table, expression)
    for expression in fields:
        mask &= _match_field(table, expression)
    return mask


def match_node_selector(table: NodeTable, selector: Object) -> Mask:
    """Nodes that any of a node selector's terms holds for."""
    mask = np.zeros(table.active.shape, dtype=bool)
    for term in selector.get("nodeSelectorTerms") or ():
        mask |= match_term(table, term)
    return mask


def required_nodes(table: NodeTable, spec: Object) -> Mask:
    """Nodes that a pod's nodeSelector and required node affinity allow."""
    mask = match_labels(table, spec.get("nodeSelector") or {})
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None:
        mask &= match_node_selector(table, required)
    return mask

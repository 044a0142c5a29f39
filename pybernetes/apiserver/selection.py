"""What a list, a watch or a collection's deletion selects: namespace, label selector, field selector. Immutable."""

from __future__ import annotations

from dataclasses import replace

from pybernetes.api import selectors
from pybernetes.api.errors import BadRequest
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.resources import Resource
from pybernetes.apiserver.entries import Entry


class Selection:
    """A parsed selection. `name` and `node` are the only values that can match, where the field selector fixes
    them: the cache has indexes for both."""

    __slots__ = (
        "_fields",
        "_labels",
        "_pairs",
        "everything",
        "name",
        "namespace",
        "namespaced",
        "node",
        "resource",
        "strategy",
    )

    def __init__(
        self,
        resource: Resource,
        strategy: Strategy,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        """Raises `BadRequest` for selectors that cannot be parsed and for fields that cannot be selected by."""
        self.resource = resource
        self.strategy = strategy
        self.namespace = namespace
        self.namespaced = resource.namespaced
        self.name: str | None = None
        self.node: str | None = None
        try:
            labels = selectors.parse_label_selector(label_selector) if label_selector else selectors.EVERYTHING
            fields = selectors.parse_field_selector(field_selector) if field_selector else None
            if fields is not None and resource.storage_id == "core/pods":
                fields = _without_old_names(fields)
        except selectors.SelectorError as e:
            raise BadRequest(str(e)) from e
        if fields is not None and not fields.empty:
            known = strategy.selectable_field_names() - _NOT_SERVED.get(resource.storage_id, frozenset())
            for field in fields.fields():
                if field not in known and field not in _NEVER_SET.get(resource.storage_id, ()):
                    raise BadRequest(_unknown_field(resource, field, known))
            self.name = fields.exact("metadata.name")
            if resource.namespaced and not namespace:
                self.namespace = fields.exact("metadata.namespace") or ""
            if resource.storage_id == "core/pods":
                self.node = fields.exact("spec.nodeName") or None
            if len(fields.requirements) == 1 and self.name is not None:
                # The name's index answers it whole.
                fields = None if (self.namespace or not resource.namespaced) else fields
        else:
            fields = None
        self._labels = None if labels.empty else labels
        self._pairs = _pairs(labels)
        self._fields = fields
        self.everything = self._labels is None and self._fields is None

    @property
    def filtered(self) -> bool:
        """Whether labels or fields narrow it, beyond the namespace."""
        return not self.everything or self.name is not None

    @property
    def bucket(self) -> tuple[str, ...]:
        """Where the cache keeps a watcher of this selection: see `KindCache`."""
        if self.name is not None and (self.namespace or not self.namespaced):
            return ("name", self.namespace, self.name)
        if self.node is not None:
            return ("node", self.node)
        return ("ns", self.namespace) if self.namespace else ()

    def matches(self, entry: Entry) -> bool:
        if self.namespace and entry.namespace != self.namespace:
            return False
        if self.everything:
            return self.name is None or entry.name == self.name
        if self._labels is not None:
            own = entry.obj["metadata"].get("labels")
            if self._pairs is None:
                if not self._labels.matches(own):
                    return False
            else:
                if not own:
                    return False
                for key, value in self._pairs:
                    if own.get(key) != value:
                        return False
        return self._fields is None or self._fields.matches(
            self.strategy.selectable_fields(entry.object_as(self.resource))
        )


def _pairs(labels: selectors.LabelSelector) -> tuple[tuple[str, str], ...] | None:
    """The labels of a selector that asks for equality alone, as most do; None for any other."""
    found = []
    for requirement in labels.requirements:
        value = labels.exact(requirement.key)
        if value is None:
            return None
        found.append((requirement.key, value))
    return tuple(found) if found and len(dict(found)) == len(found) else None


def _without_old_names(fields: selectors.FieldSelector) -> selectors.FieldSelector:
    """A pod's node used to be ``spec.host``, and old clients still call it so."""
    if "spec.host" not in fields.fields():
        return fields
    return selectors.FieldSelector(
        tuple(replace(r, field="spec.nodeName") if r.field == "spec.host" else r for r in fields.requirements)
    )


_NOT_SERVED = {
    "core/namespaces": frozenset(("name",)),
    "core/persistentvolumes": frozenset(("name",)),
    "core/persistentvolumeclaims": frozenset(("name",)),
    "apps/replicasets": frozenset(("status.replicas",)),
}
"""Fields that upstream's storage could select by, but its API does not let through."""

_NEVER_SET = {
    "core/pods": frozenset(("status.podIPs",)),
    "apps/statefulsets": frozenset(("status.successful",)),
}
"""Fields that upstream's API lets through, but its storage knows no value of."""

_OWN_WORDS = {
    "apps/statefulsets": "field label not supported for appsv1.StatefulSet: {}",
    "batch/jobs": 'field label "{}" not supported for batchv1.Job',
}


def _unknown_field(resource: Resource, field: str, known: frozenset[str]) -> str:
    """Upstream's words: those of kinds with fields of their own, and those of all others."""
    if resource.storage_id in _OWN_WORDS:
        return _OWN_WORDS[resource.storage_id].format(field)
    if known - {"metadata.name", "metadata.namespace"}:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'

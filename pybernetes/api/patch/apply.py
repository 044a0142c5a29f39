"""Server-side apply, and the tracking of field managers on every other write. Pure: the clock's reading is passed in.

`apply` merges a configuration into the live object: what its manager applied before and no longer does goes, what
another manager holds and it would change is a conflict. `track_update` says after a plain write whose fields are whose.

Source: the documentation of server-side apply, ``k8s.io/apimachinery/pkg/util/managedfields`` and
``sigs.k8s.io/structured-merge-diff``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from pybernetes.api.errors import BadRequest, Conflict
from pybernetes.api.meta import Object, annotations_of, clone, metadata, name_of, namespace_of
from pybernetes.api.patch import fields, managed, typed
from pybernetes.api.patch.fields import FieldPath, FieldSet
from pybernetes.api.patch.managed import Managed, Manager
from pybernetes.api.schema.nodes import ObjectNode

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL = "kubectl"

_NEVER_MANAGED: frozenset[FieldPath] = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
                "managedFields", "resourceVersion",
            )
        ),
    }
)  # fmt: skip

_RESET: dict[str, tuple[str, ...]] = {"": ("f:status",), "status": ("f:spec",)}
"""What a write through a subresource cannot change, and so does not own."""


def _is_managed(path: FieldPath, subresource: str) -> bool:
    return path not in _NEVER_MANAGED and path[0] not in _RESET.get(subresource, ())


def _without_paths(trie: FieldSet, gone: Iterable[FieldPath]) -> FieldSet:
    """The set without those members; the same one where none of them is in."""
    hits = [path for path in gone if fields.contains(trie, path)]
    if not hits:
        return trie
    left: FieldSet = clone(trie)
    for path in hits:
        fields.remove(left, path)
    return left


def _take_over(state: Managed, comparison: typed.Comparison, keep: Manager | None) -> None:
    """Takes changed and removed fields from all managers but `keep`."""
    gone = [*comparison.modified, *comparison.added, *comparison.removed]
    if not gone:
        return
    for entry in list(state.entries.values()):
        if keep is not None and entry.manager.key == keep.key:
            continue
        left = _without_paths(entry.fields, gone)
        if left is not entry.fields:
            state.set(entry.manager, left, entry.time)


# ---- plain writes -----------------------------------------------------------------------------------------------


def track_update(
    old: Object | None,
    new: Object,
    *,
    manager: str,
    node: ObjectNode,
    now: float,
    api_version: str,
    subresource: str = "",
) -> Object:
    """`new` with ``managedFields`` that say what `manager` changed between `old` (None at creation) and it.

    Neither object is changed; the result shares all but its metadata with `new`. An object whose lists cannot be
    compared (items without keys) keeps the managers it had.
    """
    state = managed.of(old, new, ignore_new=bool(subresource))
    before = managed.strip(old) if old is not None else {"metadata": {}}
    try:
        comparison = typed.compare(before, managed.strip(new), node)
    except typed.TypedError:
        return managed.put(new, state)
    who = Manager(manager, "Update", api_version, subresource)
    _update(state, comparison, who, now)
    return managed.put(new, state)


def _update(state: Managed, comparison: typed.Comparison, who: Manager, now: float) -> None:
    if not comparison:
        return
    _take_over(state, comparison, None)
    taken = [p for p in (*comparison.modified, *comparison.added) if _is_managed(p, who.subresource)]
    if taken:
        known = state.get(who)
        own: FieldSet = clone(known.fields) if known else {}
        for path in taken:
            fields.insert(own, path)
        state.set(who, own, managed.now_text(now))


# ---- apply ------------------------------------------------------------------------------------------------------


def _conflict(found: list[tuple[Manager, FieldPath]]) -> Conflict:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": fields.show(path)}
        for who, path in found
    ]
    if len(found) == 1:
        who, path = found[0]
        text = f"Apply failed with 1 conflict: conflict with {who}: {fields.show(path)}"
    else:
        lines: list[str] = []
        for name in sorted({str(who) for who, _ in found}):
            lines.append(f"conflicts with {name}:")
            lines += [f"- {fields.show(path)}" for who, path in found if str(who) == name]
        text = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    return Conflict(text, details={"causes": causes})


def _conflicts(state: Managed, comparison: typed.Comparison, who: Manager) -> list[tuple[Manager, FieldPath]]:
    changed = sorted((*comparison.modified, *comparison.added))
    return [
        (entry.manager, path)
        for entry in sorted(state.entries.values(), key=lambda e: e.manager.key)
        if entry.manager.key != who.key
        for path in changed
        if fields.contains(entry.fields, path)
    ]


def _allowed_by_last_applied(live: Object, node: ObjectNode) -> set[FieldPath]:
    """What kubectl's client-side apply set and nobody changed since: its server-side apply may take it over."""
    try:
        last = orjson.loads(annotations_of(live).get(LAST_APPLIED, ""))
    except orjson.JSONDecodeError:
        return set()
    if not isinstance(last, dict):
        return set()
    try:
        difference = typed.compare(last, managed.strip(live), node)
        own = typed.field_set(last, node)
    except typed.TypedError:
        return set()
    return own - {*difference.added, *difference.modified, *difference.removed}


def _prune(merged: Object, state: Managed, last: set[FieldPath], node: ObjectNode) -> Object:
    """`merged` without what the manager applied last time (`last`), does not apply now and nobody else holds."""
    if not last:
        return merged
    last_named = typed.with_named_fields(last, node)
    everything = typed.with_named_fields(typed.field_set(merged, node), node)

    def left(value: Object) -> set[FieldPath]:
        return typed.with_named_fields(typed.field_set(value, node), node)

    pruned = typed.without(merged, last_named, node)
    held = {path for entry in state.entries.values() for path in fields.paths(entry.fields)}
    pruned = typed.without(merged, everything - (left(pruned) | typed.with_named_fields(held, node)), node)
    return typed.without(merged, (everything - left(pruned)) & last_named, node)


def _check(applied: Any, node: ObjectNode, api_version: str) -> None:
    if not isinstance(applied, dict):
        raise BadRequest("error decoding YAML: the configuration is no object")
    if metadata(applied).get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    version = applied.get("apiVersion") or ""
    if version != api_version:
        raise BadRequest(
            f"Incorrect version specified in apply patch. Specified patch version: {version}, expected: {api_version}"
        )
    faults = list(typed.check(applied, node))
    if faults:
        subject = f"{namespace_of(applied)}/{name_of(applied)}; {version}, Kind={applied.get('kind') or ''}"
        text = faults[0] if len(faults) == 1 else "errors:\n" + "".join(f"  {fault}\n" for fault in faults)
        raise BadRequest(f"failed to create typed patch object ({subject}): {text}")


def _without_null_members(value: Any) -> Any:
    """What removing left: members that are null are gone."""
    if isinstance(value, dict):
        return {k: _without_null_members(v) for k, v in value.items() if v is not None}
    return [_without_null_members(v) for v in value] if isinstance(value, list) else value


def apply(
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    node: ObjectNode,
    now: float,
    api_version: str,
    subresource: str = "",
) -> Object:
    """The object after `manager` applied the configuration `applied` to `live`, None where there is none yet.

    The result is new, not yet defaulted or checked against its type. Where it equals `live`, managers and all, there
    is nothing to store. Raises `Conflict`, unless `force`, and `BadRequest` for a configuration that its type cannot
    hold.
    """
    _check(applied, node, api_version)
    who = Manager(manager, "Apply", api_version, subresource)
    base = managed.strip(live) if live is not None else {"metadata": {}}
    state = managed.decode(metadata(live).get("managedFields"), trusted=True) if live is not None else Managed()
    try:
        if live is not None and not state:
            # An object from before managers were tracked: whoever wrote it holds what is in it.
            before = Manager(managed.BEFORE_FIRST_APPLY, "Update", api_version)
            _update(state, typed.compare({"metadata": {}}, base, node), before, now)

        merged = typed.merge(base, applied, node)
        known = state.get(who)
        own = {p for p in typed.field_set(applied, node) if _is_managed(p, subresource)}
        own_fields = fields.from_paths(own)
        unchanged = (
            known is not None and known.manager == who and fields.ordered(known.fields) == fields.ordered(own_fields)
        )
        if not unchanged:
            state.set(who, own_fields, known.time if known else "")
        merged = _prune(merged, state, set(fields.paths(known.fields)) if known else set(), node)
        merged = _without_null_members(merged)
        comparison = typed.compare(base, merged, node)
    except typed.TypedError as e:
        raise BadRequest(
            f"failed to create typed live object ({namespace_of(base)}/{name_of(base)}; {api_version}): {e}"
        ) from e

    found = [] if force else _conflicts(state, comparison, who)
    if found and manager == _KUBECTL and live is not None:
        allowed = _allowed_by_last_applied(live, node)
        found = [(other, path) for other, path in found if path not in allowed]
    if found:
        raise _conflict(found)
    _take_over(state, comparison, who)
    if comparison or not unchanged:
        state.set(who, own_fields, managed.now_text(now))
    if manager == _KUBECTL and LAST_APPLIED in annotations_of(merged):
        merged = clone(merged)
        merged["metadata"]["annotations"][LAST_APPLIED] = _last_applied(applied)
    return managed.put(merged, state)


def _last_applied(applied: Object) -> str:
    """The configuration as kubectl's client-side apply would note it."""
    value = clone(applied)
    annotations = metadata(value).get("annotations")
    if isinstance(annotations, dict):
        annotations.pop(LAST_APPLIED, None)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() + "\n"

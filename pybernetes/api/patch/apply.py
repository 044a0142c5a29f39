"""Server-side apply. Pure: the clock's reading is passed in.

`apply` merges a configuration into the live object: what its manager applied before and no longer does goes, what
another manager holds and it would change is a conflict.

Source: the documentation of server-side apply, ``k8s.io/apimachinery/pkg/util/managedfields`` and
``sigs.k8s.io/structured-merge-diff``.
"""

from __future__ import annotations

from typing import Any

import orjson

from pybernetes.api.errors import BadRequest, Conflict
from pybernetes.api.meta import Object, annotations_of, clone, metadata, name_of, namespace_of
from pybernetes.api.patch import fields, managed, tracking, typed
from pybernetes.api.patch.compare import Comparison, compare
from pybernetes.api.patch.elements import TypedError
from pybernetes.api.patch.fields import FieldPath, FieldSet
from pybernetes.api.patch.managed import Managed, Manager
from pybernetes.api.patch.scope import Scope
from pybernetes.api.patch.tracking import Converter, unserved
from pybernetes.api.schema.nodes import ObjectNode

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL = "kubectl"
_ANNOTATIONS_BYTES_MAX = 256 * 1024
_GO_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
"""What Go's JSON encoder escapes beyond the rules."""


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


def _conflicts(state: Managed, changed: list[FieldPath], who: Manager) -> list[tuple[Manager, FieldPath]]:
    in_order = list(fields.paths_by_level(fields.from_paths(changed)))
    return [
        (entry.manager, path)
        for entry in sorted(state.entries.values(), key=lambda e: e.manager.key)
        if entry.manager.key != who.key
        for path in in_order
        if fields.contains(entry.fields, path)
    ]


def _allowed_by_last_applied(live: Object, scope: Scope) -> set[FieldPath]:
    """What kubectl's client-side apply set and nobody changed since: its server-side apply may take it over."""
    try:
        last = orjson.loads(annotations_of(live).get(LAST_APPLIED, ""))
    except orjson.JSONDecodeError:
        return set()
    if not isinstance(last, dict) or last.get("apiVersion") != scope.api_version:
        return set()
    try:
        difference = compare(last, live, scope.node)
        own = typed.field_set(last, scope.node)
    except TypedError:
        return set()
    return own - {*difference.added, *difference.modified, *difference.removed}


_METADATA: FieldPath = ("f:metadata",)


def _prune(merged: Object, state: Managed, last_fields: FieldSet, node: ObjectNode) -> Object:
    """`merged` without what the manager applied last time, does not apply now and nobody else holds."""
    nobodys = last_fields
    for entry in state.entries.values():
        nobodys = fields.difference(nobodys, entry.fields)
    if not nobodys:
        return merged
    last = set(fields.paths(last_fields))
    # What names the object is nobody's, and stays whatever goes.
    last_named = typed.with_named_fields(last, node) - {_METADATA}
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
    meta = applied.get("metadata")
    is_named = meta is None or isinstance(meta, dict)
    if is_named and metadata(applied).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    version = applied.get("apiVersion") or ""
    if version != api_version:
        raise BadRequest(
            f"Incorrect version specified in apply patch. Specified patch version: {version}, expected: {api_version}"
        )
    faults = list(typed.check(applied, node))
    if faults:
        group, _, version = version.rpartition("/")
        name = f"{namespace_of(applied)}/{name_of(applied)}" if is_named else "/"
        subject = f"{name}; {group}/{version}, Kind={applied.get('kind') or ''}"
        text = faults[0] if len(faults) == 1 else "errors:\n" + "".join(f"  {fault}\n" for fault in faults)
        raise BadRequest(f"failed to create typed patch object ({subject}): {text}")


def _has_null(value: Any) -> bool:
    """Whether null is a member of any map in it."""
    if isinstance(value, dict):
        return any(v is None or _has_null(v) for v in value.values())
    return isinstance(value, list) and any(_has_null(v) for v in value)


def _without_null_members(value: Any) -> Any:
    """What removing left: members that are null are gone."""
    if isinstance(value, dict):
        return {k: _without_null_members(v) for k, v in value.items() if v is not None}
    return [_without_null_members(v) for v in value] if isinstance(value, list) else value


def _merged(
    base: Object, applied: Object, state: Managed, who: Manager, scope: Scope, convert: Converter
) -> tuple[Object, Comparison]:
    """(what becomes of `base`, how it differs). Puts the applier's new fields into `state`. Raises `TypedError`."""
    merged = typed.merge(base, applied, scope.node)
    known = state.get(who)
    own = fields.from_paths(p for p in typed.field_set(applied, scope.node) if scope.owns(p))
    if known is None or known.manager != who or known.fields != own:
        state.set(who, own, known.time if known is not None else "")
    pruned = merged
    if known is not None and (known.manager == who or convert(known.manager.api_version) is not None):
        pruned = _prune(merged, state, known.fields, scope.node)
    if pruned is not merged or _has_null(applied):
        pruned = _without_null_members(pruned)
    merged = pruned
    return merged, compare(base, merged, scope.node, scope.reset_fields)


def apply(
    live: Object | None,
    applied: Object,
    scope: Scope,
    *,
    manager: str,
    force: bool,
    now: float,
    convert: Converter = unserved,
) -> Object:
    """The object after `manager` applied the configuration `applied` to `live`, None where there is none yet.

    The result is new, not yet defaulted or checked against its type. Where it equals `live`, managers and all, there
    is nothing to store. Raises `Conflict`, unless `force`, and `BadRequest` for a configuration that its type cannot
    hold.
    """
    _check(applied, scope.node, scope.api_version)
    who = Manager(manager, "Apply", scope.api_version, scope.subresource)
    base = managed.strip(live) if live is not None else {"metadata": {}}
    state = managed.decode(metadata(live).get("managedFields")) if live is not None else Managed()
    try:
        if live is not None and not state:
            # An object from before managers were tracked, or that lost them: whoever wrote it holds what is in it.
            tracking.update(state, None, base, scope, managed.BEFORE_FIRST_APPLY, now)
        merged, comparison = _merged(base, applied, state, who, scope, convert)
    except TypedError as e:
        raise BadRequest(
            f"failed to create typed live object ({namespace_of(base)}/{name_of(base)}; {scope.api_version}): {e}"
        ) from e

    changed = scope.changes(comparison.modified + comparison.added)
    found = [] if force else _conflicts(state, changed, who)
    if found and manager == _KUBECTL and live is not None:
        allowed = _allowed_by_last_applied(live, scope)
        found = [(other, path) for other, path in found if path not in allowed]
    if found:
        raise _conflict(found)
    tracking.take(state, changed, scope.changes(comparison.removed), scope, who.key, convert)
    own = state.get(who)
    if own is not None and (comparison or live is None):
        state.set(who, own.fields, managed.now_text(now))
    if manager == _KUBECTL and annotations_of(merged).get(LAST_APPLIED):
        merged = clone(merged)
        _note_last_applied(merged["metadata"]["annotations"], applied)
    return managed.put(merged, state)


def _note_last_applied(annotations: dict[str, str], applied: Object) -> None:
    """Keeps the annotation of kubectl's client-side apply in step, or drops it where it would be too large."""
    text = _last_applied(applied)
    annotations[LAST_APPLIED] = text
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > _ANNOTATIONS_BYTES_MAX:
        del annotations[LAST_APPLIED]


def _last_applied(applied: Object) -> str:
    """The configuration as kubectl's client-side apply would note it."""
    value = clone(applied)
    annotations = metadata(value).get("annotations")
    if isinstance(annotations, dict):
        annotations.pop(LAST_APPLIED, None)
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text.translate(_GO_ESCAPES) + "\n"

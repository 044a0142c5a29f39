"""Fits endpoints into slices with as few changed slices as can be. Pure.

An endpoint that is still wanted stays in its slice; new ones go first into slices that change anyway, then into the
unchanged slice that they fill best, then into new ones. Source: upstream's ``k8s.io/endpointslice/reconciler.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pybernetes.api.meta import Object, labels_of, metadata, name_of
from pybernetes.controllers.hashing import canonical

EndpointKey = tuple[tuple[str, ...], str]
PortsKey = bytes


@dataclass(slots=True)
class Changes:
    """Slices to create (nameless), to replace and to delete."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.delete)


@dataclass(slots=True)
class Group:
    """The wanted endpoints that share a set of ports."""

    ports: list[Object]
    endpoints: dict[EndpointKey, Object] = field(default_factory=dict)

    def add(self, endpoint: Object) -> None:
        self.endpoints[endpoint_key(endpoint)] = endpoint


def endpoint_key(endpoint: Object) -> EndpointKey:
    """What makes two entries the same endpoint, whatever its conditions."""
    return tuple(sorted(endpoint.get("addresses") or ())), str((endpoint.get("targetRef") or {}).get("uid") or "")


def ports_key(ports: Sequence[Object] | None) -> PortsKey:
    """One spelling of a set of ports."""
    return b"\0".join(sorted(canonical(p) for p in ports or ()))


@dataclass(frozen=True, slots=True)
class Frame:
    """What every slice of one owner has: how to make a new one, and the labels (and annotations) all must carry."""

    new: Callable[[list[Object]], Object]
    labels: Mapping[str, str]
    limit: int
    """Endpoints a slice."""
    annotations: Mapping[str, str] | None = None
    """None leaves the annotations alone."""


def pack(frame: Frame, existing: Sequence[Object], wanted: Mapping[PortsKey, Group], *, placeholder: bool) -> Changes:
    """`existing` are the owner's slices of one address family. With `placeholder`, an owner without endpoints
    keeps one empty slice."""
    changes = Changes()
    by_ports: dict[PortsKey, list[Object]] = {}
    for slice_ in existing:
        by_ports.setdefault(ports_key(slice_.get("ports")), []).append(slice_)
    kept = 0
    for key, group in wanted.items():
        kept += _pack_group(frame, by_ports.pop(key, []), group, changes)
    for slices in by_ports.values():
        changes.delete += slices
    if placeholder and not kept and not changes.create:
        _keep_placeholder(frame, existing, changes)
    _reuse_deleted(frame, changes)
    return changes


def _relabelled(frame: Frame, slice_: Object) -> Object | None:
    """The slice with the labels it must have, None where it has them."""
    stale = labels_of(slice_) != frame.labels
    meta = {**metadata(slice_), "labels": dict(frame.labels)}
    if frame.annotations is not None and (metadata(slice_).get("annotations") or {}) != frame.annotations:
        meta["annotations"] = dict(frame.annotations)
        stale = True
    return {**slice_, "metadata": meta} if stale else None


def _pack_group(frame: Frame, existing: Sequence[Object], group: Group, changes: Changes) -> int:
    """Packs one group; how many existing slices stay."""
    missing = dict(group.endpoints)
    touched: list[Object] = []
    unchanged: list[Object] = []
    for slice_ in existing:
        before = slice_.get("endpoints") or []
        after = [e for old in before if (e := missing.pop(endpoint_key(old), None)) is not None]
        relabelled = _relabelled(frame, slice_)
        if after == before:
            if not before and missing:
                # An empty slice of the right ports is there to be filled.
                touched.append({**(relabelled or slice_), "endpoints": []})
            elif relabelled is not None:
                touched.append({**relabelled, "endpoints": list(before)})
            else:
                unchanged.append(slice_)
        elif after:
            touched.append({**(relabelled or slice_), "endpoints": after})
        else:
            changes.delete.append(slice_)
    queue = list(missing.values())[::-1]
    for slice_ in sorted(touched, key=lambda s: -len(s["endpoints"])):
        while queue and len(slice_["endpoints"]) < frame.limit:
            slice_["endpoints"].append(queue.pop())
    while queue:
        target = _best_fit(unchanged, len(queue), frame.limit)
        if target is not None:
            unchanged.remove(target)
            slice_ = {**target, "endpoints": list(target.get("endpoints") or ())}
            touched.append(slice_)
        else:
            slice_ = frame.new(group.ports)
            changes.create.append(slice_)
        while queue and len(slice_["endpoints"]) < frame.limit:
            slice_["endpoints"].append(queue.pop())
    for slice_ in touched:
        (changes.update if slice_["endpoints"] else changes.delete).append(slice_)
    return len(unchanged) + sum(1 for s in touched if s["endpoints"])


def _best_fit(slices: Sequence[Object], count: int, limit: int) -> Object | None:
    """The slice that `count` more endpoints fill best without overflowing it."""
    fitting = [s for s in slices if len(s.get("endpoints") or ()) + count <= limit and count < limit]
    return max(fitting, key=lambda s: len(s.get("endpoints") or ()), default=None)


def _keep_placeholder(frame: Frame, existing: Sequence[Object], changes: Changes) -> None:
    empty = frame.new([])
    for slice_ in existing:
        if not slice_.get("endpoints") and not slice_.get("ports"):
            changes.delete = [s for s in changes.delete if name_of(s) != name_of(slice_)]
            changes.update = [s for s in changes.update if name_of(s) != name_of(slice_)]
            relabelled = _relabelled(frame, slice_)
            if relabelled is not None:
                changes.update.append(relabelled)
            return
    changes.create.append(empty)


def _reuse_deleted(frame: Frame, changes: Changes) -> None:
    """Turns a deletion and a creation into one update: watchers see one event and the name stays."""
    while changes.create and changes.delete:
        old, new = changes.delete.pop(0), changes.create.pop()
        meta = {**metadata(old), "labels": dict(frame.labels)}
        if frame.annotations is not None:
            meta["annotations"] = dict(frame.annotations)
        changes.update.append({**new, "metadata": meta})

"""Deletion: at once, gracefully, or once the finalizers are gone; of one object or of a collection.

`plan_deletion` decides and is pure; `Deleter` carries out, against the version the decision was made on. Source:
upstream's ``rest.BeforeDelete`` and ``Store.Delete``, and the Namespace storage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pybernetes.api import errors
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.time import format_time, parse_time
from pybernetes.apiserver import conversion
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.listing import Lister, Listing
from pybernetes.apiserver.options import DeleteOptions, ListOptions
from pybernetes.apiserver.registry import Registry

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_TRIES = 32
_COLLECTION_WORKERS = 32

_RETURNS_OBJECT = frozenset(
    (
        "core/namespaces", "core/pods", "core/podtemplates", "core/resourcequotas",
        "core/serviceaccounts", "core/persistentvolumes", "core/persistentvolumeclaims", "core/services",
        "storage.k8s.io/csidrivers", "storage.k8s.io/csinodes", "storage.k8s.io/storageclasses",
        "storage.k8s.io/volumeattachments", "storage.k8s.io/volumeattributesclasses",
    )
)  # fmt: skip
"""Kinds whose deletion answers with the object and not with a Status."""


_ORPHANS_BY_DEFAULT = frozenset(("batch/jobs", "core/replicationcontrollers"))
"""Kinds whose dependents stay where a deletion does not say what becomes of them: as it was before there was a garbage
collector."""

_JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
    "set propagationPolicy=Orphan to suppress this warning"
)


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete it now."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Write this state: marked as being deleted, it stays for its grace period or its finalizers."""

    obj: Object


@dataclass(frozen=True, slots=True)
class Pending:
    """It is being deleted already, and nothing changes."""


Plan = Remove | Mark | Pending


@dataclass(slots=True)
class Deleted:
    """What a deletion did. `gone`: the object is no more; `entry` is its last or its marked state."""

    resource: Resource
    entry: Entry
    gone: bool

    def answers_with_object(self) -> bool:
        return not self.gone or self.resource.storage_id in _RETURNS_OBJECT

    def to_status(self) -> Object:
        """``Status`` Success; its kind is the resource's plural, as upstream prints it there."""
        details: Object = {"name": self.entry.name}
        if self.resource.group:
            details["group"] = self.resource.group
        details["kind"] = self.resource.plural
        details["uid"] = self.entry.obj["metadata"].get("uid", "")
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _wanted_finalizer(resource: Resource, obj: Object, options: DeleteOptions) -> str:
    """Which of the garbage collector's finalizers the object shall have."""
    if resource.storage_id == "core/events":
        return ""
    if options.orphan_dependents is not None:
        return ORPHAN if options.orphan_dependents else ""
    if options.propagation_policy is not None:
        return {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(options.propagation_policy, "")
    present = obj["metadata"].get("finalizers") or ()
    by_default = ORPHAN if resource.storage_id in _ORPHANS_BY_DEFAULT else ""
    return next((f for f in present if f in (ORPHAN, FOREGROUND)), by_default)


def _finalizers(resource: Resource, obj: Object, options: DeleteOptions) -> list[str]:
    """The object's finalizers as the options' propagation wants them."""
    present: list[str] = list(obj["metadata"].get("finalizers") or ())
    wanted = _wanted_finalizer(resource, obj, options)
    kept = [f for f in present if f not in (ORPHAN, FOREGROUND) or f == wanted]
    if wanted and wanted not in kept:
        kept.append(wanted)
    return kept


def _marked(obj: Object, finalizers: Sequence[str], timestamp: float, grace_seconds: int | None) -> Object:
    meta = dict(obj["metadata"])
    if not meta.get("deletionTimestamp") and meta.get("generation"):
        meta["generation"] += 1
    meta["deletionTimestamp"] = format_time(timestamp)
    if grace_seconds is not None:
        meta["deletionGracePeriodSeconds"] = grace_seconds
    if finalizers:
        meta["finalizers"] = list(finalizers)
    else:
        meta.pop("finalizers", None)
    return {**obj, "metadata": meta}


def plan_deletion(resource: Resource, strategy: Strategy, obj: Object, options: DeleteOptions, now: float) -> Plan:
    """What a deletion of `obj` (shared, left alone) with these options does."""
    meta = obj["metadata"]
    if resource.storage_id == "core/namespaces" and (obj.get("spec") or {}).get("finalizers"):
        return _plan_namespace(obj, _finalizers(resource, obj, options), now)
    requested = options.grace_period_seconds
    if requested is not None and requested < 0:
        requested = 1
    deleting = bool(meta.get("deletionTimestamp"))
    period = meta.get("deletionGracePeriodSeconds")
    if deleting and period:
        # Gracefully, since before: the period can only be shortened.
        if requested is None or requested >= period:
            return Pending()
        finalizers = list(meta.get("finalizers") or ())
        if requested == 0 and not finalizers:
            return Remove()
        deadline = parse_time(meta["deletionTimestamp"]) - period + requested
        return Mark(_marked(obj, finalizers, deadline, requested))
    finalizers = _finalizers(resource, obj, options)
    if not deleting:
        grace = strategy.grace_period_seconds(obj, requested)
        if grace > 0:
            return Mark(_marked(obj, finalizers, now + grace, grace))
    if not finalizers:
        return Remove()
    if deleting and finalizers == list(meta.get("finalizers") or ()) and period == 0:
        return Pending()
    timestamp = min(now, parse_time(meta["deletionTimestamp"])) if deleting else now
    return Mark(_marked(obj, finalizers, timestamp, 0))


def _plan_namespace(obj: Object, finalizers: list[str], now: float) -> Plan:
    """A namespace first goes Terminating; its controller empties it and takes its finalizers away."""
    meta, status = obj["metadata"], obj.get("status") or {}
    if (
        meta.get("deletionTimestamp")
        and status.get("phase") == "Terminating"
        and finalizers == list(meta.get("finalizers") or ())
    ):
        return Pending()
    timestamp = parse_time(meta["deletionTimestamp"]) if meta.get("deletionTimestamp") else now
    marked = _marked(obj, finalizers, timestamp, None)
    marked["status"] = {**status, "phase": "Terminating"}
    return Mark(marked)


class Deleter:
    def __init__(self, registry: Registry, lister: Lister) -> None:
        self._registry = registry
        self._lister = lister

    async def delete(self, info: RequestInfo, options: DeleteOptions, *, admit: bool = True) -> Deleted:
        """Deletes the named object; without `admit` admission is not asked. Raises `NotFound`, and `Conflict` where
        a precondition does not hold."""
        assert info.resource is not None
        resource = conversion.storage_resource(info.resource)
        if (
            resource.storage_id == "batch/jobs"
            and options.propagation_policy is None
            and options.orphan_dependents is None
        ):
            info.warnings.append(_JOB_WARNING)
        registry = self._registry
        storage, strategy = registry.storage, registry.kinds.strategy(resource)
        for _ in range(_TRIES):
            existing = await storage.current(resource, info.namespace, info.name)
            if existing is None:
                raise errors.not_found(resource.group, resource.plural, info.name)
            _check_preconditions(resource, existing, options)
            if admit:
                await registry.admit("DELETE", info, None, existing.obj, options)
            plan = plan_deletion(resource, strategy, existing.obj, options, registry.clock.now())
            written: Entry | None
            if isinstance(plan, Pending):
                return Deleted(resource, existing, gone=False)
            if isinstance(plan, Remove):
                written = await storage.remove(resource, existing, dry_run=info.dry_run)
            else:
                written = await storage.write(
                    resource, existing.namespace, existing.name, plan.obj, expected=existing.revision,
                    dry_run=info.dry_run,
                )  # fmt: skip
            if written is not None:
                return Deleted(resource, written, gone=isinstance(plan, Remove))
        raise errors.conflict(resource.group, resource.plural, info.name, errors.MODIFIED)

    async def delete_collection(self, info: RequestInfo, list_options: ListOptions, options: DeleteOptions) -> Listing:
        """Deletes what the options select; the answer is what was selected. Not one transaction, as upstream."""
        listing = await self._lister.list(info, list_options)
        entries = iter(listing.items)
        failures: list[errors.ApiError] = []

        async def work() -> None:
            for entry in entries:
                if failures:
                    return
                one = RequestInfo(
                    "delete", info.path, info.user, info.resource, entry.namespace, entry.name,
                    dry_run=info.dry_run, warnings=info.warnings,
                )  # fmt: skip
                try:
                    await self.delete(one, options)
                except errors.NotFound:
                    continue
                except errors.ApiError as error:
                    failures.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(_COLLECTION_WORKERS, len(listing.items))):
                group.create_task(work())
        if failures:
            raise failures[0]
        return listing


def _check_preconditions(resource: Resource, existing: Entry, options: DeleteOptions) -> None:
    """Upstream's words, which name the kind where others name the resource."""
    meta = existing.obj["metadata"]
    why = ""
    if options.uid and options.uid != meta.get("uid"):
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({meta.get('uid')}). "
            "The object might have been deleted and then recreated"
        )
    version = options.resource_version
    if not why and version and version != meta.get("resourceVersion"):
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({meta.get('resourceVersion')}). The object might have been modified"
        )
    if why:
        raise errors.conflict(resource.group, resource.kind, existing.name, why)

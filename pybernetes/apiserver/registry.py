"""The generic registry: create, get, list, watch, update and patch of every kind, with upstream's semantics.

It works on stored versions; answers are `Entry` objects, which give themselves in any served version. Objects handed
in are private to the registry from then on. Source of the semantics: upstream's
``pkg/registry/generic/registry/store.go`` and ``pkg/registry/rest``. Deletions are in `deletion`, lists in `listing`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from pybernetes.api import errors
from pybernetes.api.field import FieldError, Path
from pybernetes.api.field import invalid as invalid_value
from pybernetes.api.kinds import metadata as meta_rules
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, copier
from pybernetes.api.patch.managed import equal_but_for_time
from pybernetes.api.resources import Resource
from pybernetes.apiserver import conversion, encoding
from pybernetes.apiserver.admission.chain import NO_STEPS, AdmissionChain, Steps
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.identity import Identities
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionPlugin, AdmissionRequest, Charge, RequestInfo
from pybernetes.apiserver.managers import FieldManagers
from pybernetes.apiserver.options import DeleteOptions
from pybernetes.apiserver.options import revision as parse_revision
from pybernetes.apiserver.served import ServedKinds
from pybernetes.apiserver.storage import Guard, GuardMoved, ObjectStorage
from pybernetes.lib.clock import Clock
from pybernetes.store.interface import StoreError

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_NAME_LENGTH_MAX = 63
_GENERATED_NAME_TRIES = 8
_GUARD_TRIES = 32
_UPDATE_TRIES = 32
"""Of an update without a resourceVersion, against others that write the same object all the time."""

_DROPPED_ON_CREATE = ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_KEPT_WHEN_LEFT_OUT = (
    "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip

Transform = Callable[[Entry | None], Awaitable[Object]]
"""From the current state (None: there is none) to the wanted one, in the stored version: a fresh private object each
time, since a conflict calls it again."""


class Reservation(Protocol):
    """What a `WriteHook` holds for one write."""

    @property
    def guards(self) -> Sequence[Guard]:
        """To be written with the object; none where no other server writes to the store."""
        ...

    async def renew(self, moved: Sequence[Guard]) -> None:
        """Other servers have allocated since the choice: looks again, and changes the object in place where that
        takes another choice. Raises `Invalid` as `WriteHook.begin` does."""
        ...

    def guarded(self, revision: int) -> None:
        """The object and the guards were written, at this revision, which the cache has reached."""
        ...

    async def through(self, write: Coroutine[Any, Any, Entry | None]) -> Entry | None:
        """Waits for the write. Where the request ends before (it is cancelled), the write goes on, and what is held
        for it stays so until it is known what became of it."""
        ...

    def finish(self) -> None:
        """The request is over."""
        ...


class WriteHook(Protocol):
    """Completes objects of one kind between validation and the store, with what only the server can give."""

    async def prepare(self) -> None:
        """Before `begin`: waits for what that must know. Raises ApiError."""
        ...

    def begin(self, info: RequestInfo, obj: Object, old: Object | None) -> Reservation:
        """Changes `obj` in place. Raises `Invalid`, holding nothing then."""
        ...


class _Unset:
    """A version that was not given, as upstream's error text shows it."""

    def __str__(self) -> str:
        return "0x0"


class ServerError(errors.ApiError):
    """An error that upstream answers with 500 and no reason."""

    status_code = 500
    reason = ""


def _random_suffix() -> str:
    return "".join(random.choices(_SUFFIX_ALPHABET, k=_SUFFIX_LENGTH))


def generated_name(prefix: str) -> str:
    """A name from a generateName, cut so that it fits 63 characters."""
    return prefix[: _NAME_LENGTH_MAX - _SUFFIX_LENGTH] + _random_suffix()


class Registry:
    """One for all kinds."""

    def __init__(
        self,
        storage: ObjectStorage,
        kinds: ServedKinds,
        admission: Sequence[AdmissionPlugin],
        clock: Clock,
        hooks: Mapping[str, WriteHook] | None = None,
    ) -> None:
        """`hooks` by storage id."""
        self.storage = storage
        self.kinds = kinds
        self.clock = clock
        self.admission = AdmissionChain(admission)
        self._identities = Identities(clock)
        self.managers = FieldManagers(clock)
        self._hooks = dict(hooks or {})

    # ---- reading

    async def get(self, info: RequestInfo, resource_version: str = "") -> Entry:
        """The named object; with a resourceVersion at least as new as that, without one as new as it can be."""
        resource = info.resource
        assert resource is not None
        cacher = self.storage.cacher
        if not resource_version:
            await cacher.fresh()
        elif resource_version != "0":
            await cacher.reached(parse_revision(resource_version))
        entry = cacher.kind(resource).get(info.namespace, info.name)
        if entry is None:
            resource = conversion.storage_resource(resource)
            raise errors.not_found(resource.group, resource.plural, info.name)
        return entry

    # ---- creating

    async def create(self, info: RequestInfo, obj: Object) -> Entry:
        """Creates a decoded, defaulted object in its stored version. Raises `AlreadyExists`, `Invalid`, ..."""
        assert info.resource is not None
        resource = conversion.storage_resource(info.resource)
        strategy = self.kinds.strategy(info.resource)
        meta = obj.setdefault("metadata", {})
        self._match_namespace(info, resource, meta)
        self.managers.note_created(info, resource, obj)
        request, steps = await self._mutated(info, resource, obj)
        # Only now: what names itself, or is named by a webhook, has no name generated.
        prefix = "" if meta.get("name") else meta.get("generateName") or ""
        # A generated name may be taken: the next try starts from the same object.
        another = copier(obj) if prefix else None
        for attempt in range(1, _GENERATED_NAME_TRIES + 1):
            if another is not None and attempt > 1:
                request.object = another()
            entry = await self._create_once(info, resource, strategy, request, steps, prefix)
            if entry is not None:
                return entry
            if not prefix:
                raise errors.already_exists(resource.group, resource.plural, request.name)
        error = errors.already_exists(resource.group, resource.plural, request.name)
        error.details = {**(error.details or {}), "retryAfterSeconds": 1}
        error.message += ", the server was not able to generate a unique name for the object"
        raise error

    async def _mutated(self, info: RequestInfo, resource: Resource, obj: Object) -> tuple[AdmissionRequest, Steps]:
        """Runs the mutating phase on an object to be created, which has no generated name and no uid yet."""
        steps = self.admission.steps("CREATE", resource, info.subresource)
        request = self._admission_request("CREATE", info, resource, obj, None)
        noted = obj["metadata"].get("managedFields")
        for mutate in steps.mutators:
            await mutate(request)
        if request.reinvocation is not None and request.reinvocation.wanted:
            await steps.mutate_again(request)
        self.managers.check_admitted(info, obj, noted)
        return request, steps

    async def _create_once(
        self,
        info: RequestInfo,
        resource: Resource,
        strategy: Strategy,
        request: AdmissionRequest,
        steps: Steps,
        prefix: str,
    ) -> Entry | None:
        obj = request.object
        assert obj is not None
        meta = obj["metadata"]
        if meta.get("resourceVersion") not in (None, "", "0"):
            raise ServerError("resourceVersion should not be set on objects to be created")
        for field in _DROPPED_ON_CREATE:
            meta.pop(field, None)
        if prefix:
            meta["name"] = generated_name(prefix)
        meta["uid"] = self._identities.uid()
        meta["creationTimestamp"] = self._identities.now()
        request.name = name = meta.get("name") or ""
        strategy.prepare_for_create(obj)
        if strategy.has_generation:
            meta["generation"] = 1
        faults: list[FieldError] = [*meta_rules.validate_object_meta(obj, resource, strategy)]
        faults += strategy.validate_create(obj)
        if faults:
            raise errors.invalid(resource.group, resource.kind, name, faults)
        info.warnings += strategy.warnings(obj, None)
        reservation: Reservation | None = None
        try:
            for validate in steps.validators:
                await validate(request)
            hook = self._hook(info, resource)
            if hook is not None:
                await hook.prepare()
                reservation = hook.begin(info, obj, None)
            namespace = meta.get("namespace") or ""
            if reservation is not None and not info.dry_run:
                return await reservation.through(
                    self._write_reserved(resource, namespace, name, obj, 0, request.charge, reservation)
                )
            if request.charge is not None:
                return await self.storage.write_charged(
                    resource, namespace, name, obj, expected=0, charge=request.charge
                )
            return await self.storage.write(resource, namespace, name, obj, expected=0, dry_run=info.dry_run)
        finally:
            if request.charge is not None:
                request.charge.release()
                request.charge = None
            if reservation is not None:
                reservation.finish()

    async def _write_reserved(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        obj: Object,
        expected: int,
        charge: Charge | None,
        reservation: Reservation,
    ) -> Entry | None:
        """Writes what a reservation was made for, as often as other servers come in between. It may go on
        after the request was cancelled."""
        for _ in range(_GUARD_TRIES):
            try:
                if charge is not None:
                    written = await self.storage.write_charged(
                        resource,
                        namespace,
                        name,
                        obj,
                        expected=expected,
                        charge=charge,
                        guards=reservation.guards,
                    )
                else:
                    written = await self.storage.write(
                        resource, namespace, name, obj, expected=expected, guards=reservation.guards
                    )
            except GuardMoved as moved:
                await reservation.renew(moved.guards)
                continue
            if written is not None:
                reservation.guarded(written.revision)
            return written
        raise errors.ServiceUnavailable(
            "other servers allocate at the same time; try again", details={"retryAfterSeconds": 1}
        )

    def _hook(self, info: RequestInfo, resource: Resource) -> WriteHook | None:
        return self._hooks.get(resource.storage_id) if not info.subresource else None

    @staticmethod
    def _match_namespace(info: RequestInfo, resource: Resource, meta: Object) -> None:
        if not resource.namespaced:
            meta.pop("namespace", None)
            return
        own = meta.get("namespace")
        if own and own != info.namespace:
            raise errors.BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        meta["namespace"] = info.namespace

    # ---- updating

    async def update(
        self,
        info: RequestInfo,
        transform: Transform,
        *,
        strategy: Strategy | None = None,
        may_create: bool = False,
        retry: bool = False,
        admit: bool = True,
        applied: bool = False,
    ) -> tuple[Entry, bool]:
        """Brings the named object to what `transform` makes of it; whether it was created by that.

        `strategy` replaces the kind's own (a subresource's); without `admit` admission is not asked and nobody
        becomes the manager of what changes. With
        `applied` the wanted state says itself who manages its fields, as server-side apply does. A wanted state
        that names a resourceVersion is written only over that version (`Conflict`), one that names none over whatever
        is there. With `retry` the version is that of the state it was made from, as a patch's is, and a lost race
        calls `transform` again. A change to nothing writes nothing. An object that is being deleted goes when its last
        finalizer is taken away.
        """
        assert info.resource is not None
        resource = conversion.storage_resource(info.resource)
        strategy = strategy or self.kinds.strategy(resource)
        for attempt in range(_UPDATE_TRIES):
            if not attempt and not info.dry_run:
                cached = self.storage.cached(resource, info.namespace, info.name)
                if cached is not None:
                    told = len(info.warnings)
                    entry = await self._update_cached(
                        info, resource, strategy, transform, cached, retry, admit, applied
                    )
                    if entry is not None:
                        return entry, False
                    del info.warnings[told:]
                    continue
            existing = await self.storage.current(resource, info.namespace, info.name)
            if existing is None:
                if not may_create:
                    raise errors.not_found(resource.group, resource.plural, info.name)
                obj = await transform(None)
                obj["metadata"].pop("resourceVersion", None)
                self._match_namespace(info, resource, obj["metadata"])
                if not applied:
                    self.managers.note_created(info, resource, obj)
                request, steps = await self._mutated(info, resource, obj)
                created = await self._create_once(info, resource, strategy, request, steps, "")
                if created is not None:
                    return created, True
                continue
            obj = await transform(existing)
            entry = await self._update_once(info, resource, strategy, obj, existing, retry, admit, applied)
            if entry is not None:
                return entry, False
        raise errors.conflict(resource.group, resource.plural, info.name, errors.MODIFIED)

    async def _update_cached(
        self,
        info: RequestInfo,
        resource: Resource,
        strategy: Strategy,
        transform: Transform,
        cached: Entry,
        retry: bool,
        admit: bool,
        applied: bool,
    ) -> Entry | None:
        """The update from what the cache holds: mostly that is the newest, and where it is not the write finds it out.
        Before anything else is told of it, that it is refused or changes nothing, the store is asked whether it is, as
        upstream. None where it was not."""
        refused: errors.ApiError | None = None
        entry: Entry | None = cached
        try:
            obj = await transform(cached)
            entry = await self._update_once(info, resource, strategy, obj, cached, retry, admit, applied)
        except errors.ApiError as error:
            if isinstance(error.__cause__, StoreError) or isinstance(error, errors.GatewayTimeout):
                # It may have been written.
                raise
            refused = error
        if entry is not cached:
            return entry
        current = await self.storage.current(resource, info.namespace, info.name)
        if current is None or current.revision != cached.revision:
            return None
        if refused is not None:
            raise refused
        return cached

    async def _update_once(
        self,
        info: RequestInfo,
        resource: Resource,
        strategy: Strategy,
        obj: Object,
        existing: Entry,
        retry: bool,
        admit: bool,
        applied: bool,
    ) -> Entry | None:
        old = existing.obj
        meta, old_meta = obj.setdefault("metadata", {}), old["metadata"]
        conditional = self._check_version(resource, strategy, existing, meta)
        meta["resourceVersion"] = old_meta["resourceVersion"]
        for field in _KEPT_WHEN_LEFT_OUT:
            if not meta.get(field) and field in old_meta:
                meta[field] = old_meta[field]
        if "generation" in old_meta:
            meta["generation"] = old_meta["generation"]
        else:
            meta.pop("generation", None)
        meta.pop("selfLink", None)
        if admit and not applied:
            self.managers.note_updated(info, resource, obj, existing)
        steps = self.admission.steps("UPDATE", resource, info.subresource) if admit else NO_STEPS
        request = self._admission_request("UPDATE", info, resource, obj, old)
        noted = meta.get("managedFields")
        for mutate in steps.mutators:
            await mutate(request)
        if request.reinvocation is not None and request.reinvocation.wanted:
            await steps.mutate_again(request)
        self.managers.check_admitted(info, obj, noted)
        if info.subresource == "status":
            strategy.prepare_for_status_update(obj, old)
        else:
            strategy.prepare_for_update(obj, old)
        if strategy.has_generation and strategy.raises_generation(obj, old):
            meta["generation"] = int(old_meta.get("generation") or 0) + 1
        faults: list[FieldError] = [*meta_rules.validate_object_meta_update(obj, old)]
        if info.subresource == "status":
            faults += strategy.validate_status_update(obj, old)
        else:
            faults += strategy.validate_update(obj, old)
        if faults:
            raise errors.invalid(resource.group, resource.kind, info.name, faults)
        if info.subresource == "status":
            info.warnings += strategy.status_warnings(obj)
        else:
            info.warnings += strategy.warnings(obj, old)
        reservation: Reservation | None = None
        written: Entry | None
        try:
            for validate in steps.validators:
                await validate(request)
            hook = self._hook(info, resource)
            if hook is not None:
                await hook.prepare()
                reservation = hook.begin(info, obj, old)
            if goes_with_update(obj, old):
                written = await self.storage.remove(resource, existing, dry_run=info.dry_run)
                if written is not None:
                    # Watchers are told the last stored state; who updated gets what he made of it, as upstream.
                    stored = encoding.encode_stored(resource.api_version, resource.kind, obj)
                    raw = encoding.with_version(stored, existing.revision)
                    written = Entry(existing.key, obj, raw, existing.revision)
            elif equal_but_for_time(obj, old) and not self.storage.is_stale(resource, existing):
                return existing
            elif reservation is not None and not info.dry_run:
                written = await reservation.through(
                    self._write_reserved(
                        resource, existing.namespace, existing.name, obj, existing.revision, request.charge, reservation
                    )
                )
            elif request.charge is not None:
                written = await self.storage.write_charged(
                    resource, existing.namespace, existing.name, obj, expected=existing.revision, charge=request.charge
                )
            else:
                written = await self.storage.write(
                    resource, existing.namespace, existing.name, obj, expected=existing.revision, dry_run=info.dry_run
                )
        finally:
            if request.charge is not None:
                request.charge.release()
            if reservation is not None:
                reservation.finish()
        if written is None and conditional and not retry:
            raise errors.conflict(resource.group, resource.plural, info.name, errors.MODIFIED)
        return written

    def _check_version(self, resource: Resource, strategy: Strategy, existing: Entry, meta: Object) -> bool:
        """Whether the wanted state holds only for the version it names. Raises where that is not the current."""
        old_meta = existing.obj["metadata"]
        uid = meta.get("uid")
        if uid and uid != old_meta.get("uid"):
            raise errors.conflict(
                resource.group,
                resource.plural,
                existing.name,
                f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{existing.key}, "
                f"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
                f"UID in object meta: {old_meta.get('uid')}",
            )
        version = meta.get("resourceVersion")
        if version in (None, "", "0"):
            if not strategy.allow_unconditional_update and resource.verbs:
                path = Path("metadata.resourceVersion")
                fault = invalid_value(path, _Unset(), "must be specified for an update")
                raise errors.invalid(resource.group, resource.kind, existing.name, [fault])
            return False
        if version != old_meta["resourceVersion"]:
            raise errors.conflict(resource.group, resource.plural, existing.name, errors.MODIFIED)
        return True

    # ---- admission

    def _admission_request(
        self,
        operation: AdmissionOperation,
        info: RequestInfo,
        resource: Resource,
        obj: Object | None,
        old: Object | None,
    ) -> AdmissionRequest:
        name = info.name
        if not name and obj is not None:
            # What is not stored, as reviews, may come without metadata.
            name = (obj.get("metadata") or {}).get("name") or ""
        return AdmissionRequest(
            operation, resource, info.namespace, name, info.subresource, info.user, obj, old, info.dry_run,
            info.warnings, info,
        )  # fmt: skip

    async def admit(
        self,
        operation: AdmissionOperation,
        info: RequestInfo,
        obj: Object | None,
        old: Object | None,
        options: DeleteOptions | None = None,
    ) -> None:
        """Both phases, for what stores no object of its own: deletions, connections, reviews."""
        assert info.resource is not None
        resource = conversion.storage_resource(info.resource)
        steps = self.admission.steps(operation, resource, info.subresource)
        if not steps.mutators and not steps.validators:
            return
        request = self._admission_request(operation, info, resource, obj, old)
        request.options = options
        for mutate in steps.mutators:
            await mutate(request)
        if request.reinvocation is not None and request.reinvocation.wanted:
            await steps.mutate_again(request)
        for validate in steps.validators:
            await validate(request)


def goes_with_update(obj: Object, old: Object) -> bool:
    """Whether an update takes away what kept a deleted object: its last finalizer."""
    meta, old_meta = obj["metadata"], old["metadata"]
    if meta.get("finalizers") or not old_meta.get("deletionTimestamp"):
        return False
    if (obj.get("spec") or {}).get("finalizers") and obj.get("kind") == "Namespace":
        return False
    if old_meta.get("deletionGracePeriodSeconds") == 0:
        return True
    return obj.get("kind") == "Namespace" and "deletionGracePeriodSeconds" not in old_meta

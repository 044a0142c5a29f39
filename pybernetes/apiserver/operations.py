"""What can be asked of a resource, whatever the transport: authorization, decoding, and the verbs on resources and
their subresources.

HTTP and the in-process client both come through here. Bodies are plain decoded JSON that stays the caller's:
decoding makes the private object that the registry takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pybernetes.api import errors
from pybernetes.api.kinds.scale import from_scale, to_scale
from pybernetes.api.meta import Object, clone
from pybernetes.api.names import path_segment_name
from pybernetes.api.patch import apply as ssa
from pybernetes.api.patch import scaling
from pybernetes.api.patch.managed import RESET
from pybernetes.api.patch.scope import scope_of
from pybernetes.api.resources import COMPONENTSTATUSES, Resource, by_kind
from pybernetes.api.schema.text import GO_KINDS
from pybernetes.api.selectors import SelectorError, parse_field_selector
from pybernetes.apiserver import conversion, patching, subresources
from pybernetes.apiserver.authorization import access_denied
from pybernetes.apiserver.components import Components
from pybernetes.apiserver.deletion import Deleted, Deleter
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import Attributes, Authorizer, HandlerKey, ObjectHandler, RequestInfo
from pybernetes.apiserver.listing import Lister, Listing
from pybernetes.apiserver.managers import converter
from pybernetes.apiserver.options import DeleteOptions, ListOptions, WriteOptions
from pybernetes.apiserver.patching import Patch
from pybernetes.apiserver.registry import Registry
from pybernetes.apiserver.served import ServedKinds, What
from pybernetes.apiserver.settled import SettledSpecs
from pybernetes.apiserver.watching import Watcher
from pybernetes.client.interface import APPLY_PATCH

_SELECTING = frozenset(("list", "watch", "deletecollection"))
_DECISION = "authorization.k8s.io/decision"
_REASON = "authorization.k8s.io/reason"
_NO_OBJECT: Object = {}
_SCALE: tuple[str, str, str] = ("autoscaling", "v1", "Scale")


@dataclass(slots=True)
class Written:
    """What a create, update or patch answers with: a stored object, or a plain one (a scale, a review)."""

    answer: Entry | Object
    created: bool = False


class Operations:
    def __init__(
        self,
        registry: Registry,
        lister: Lister,
        deleter: Deleter,
        authorizer: Authorizer,
        object_handlers: Mapping[HandlerKey, ObjectHandler],
        components: Components,
    ) -> None:
        self.registry = registry
        self.kinds: ServedKinds = registry.kinds
        self._lister = lister
        self._deleter = deleter
        self._authorizer = authorizer
        self._object_handlers = dict(object_handlers)
        self._components = components
        self._settled = SettledSpecs()

    # ---- authorization

    def authorize_request(self, info: RequestInfo) -> None:
        """`authorize`, with the selectors of the request's query."""
        if info.verb not in _SELECTING:
            self.authorize(info)
        elif info.query and not info.name:
            fields, labels = info.query.get("fieldSelector", ""), info.query.get("labelSelector", "")
            self.authorize(info, field_selector=fields, label_selector=labels)
        else:
            self.authorize(info, field_selector="")

    def authorize(
        self, info: RequestInfo, verb: str = "", field_selector: str | None = None, label_selector: str = ""
    ) -> None:
        """Raises `Forbidden`, worded as upstream."""
        resource = info.resource
        if resource is None:
            attributes = Attributes(info.user, info.verb, path=info.path)
        else:
            name = info.name
            namespace = info.namespace
            if not name:
                if field_selector and (verb or info.verb) in ("list", "watch"):
                    name = _selected_name(field_selector)
            elif resource.plural == "namespaces" and not resource.group:
                namespace = name
            attributes = Attributes(
                info.user, verb or info.verb, namespace, resource.group, resource.version, resource.plural,
                info.subresource, name, info.path, field_selector, label_selector,
            )  # fmt: skip
        decision = self._authorizer.authorize(attributes)
        if not decision.allowed:
            if info.annotations is not None:
                info.annotations |= {_DECISION: "forbid", _REASON: decision.reason}
            raise access_denied(attributes, decision.reason)
        if info.annotations is not None:
            info.annotations |= {_DECISION: "allow", _REASON: decision.reason}

    # ---- reading

    async def get(self, info: RequestInfo, resource_version: str = "") -> Entry | Object:
        if info.resource is COMPONENTSTATUSES:
            return self._components.get(info.name)
        entry = await self.registry.get(info, resource_version)
        if info.subresource == "scale":
            assert info.resource is not None
            return to_scale(info.resource, entry.obj)
        return entry

    async def list(self, info: RequestInfo, options: ListOptions) -> Listing:
        if info.resource is COMPONENTSTATUSES:
            selection = self._lister.selection(info, options)
            return self._components.list(selection, self.registry.storage.cacher.revision)
        return await self._lister.list(info, options)

    async def watch(self, info: RequestInfo, options: ListOptions) -> tuple[Watcher, int | None]:
        return await self._lister.watch(info, options)

    def detach(self, watcher: Watcher) -> None:
        self._lister.detach(watcher)

    # ---- writing

    def body_type(self, info: RequestInfo) -> What:
        """The type that travels in the request's body."""
        resource = info.resource
        assert resource is not None
        subresource = resource.subresource(info.subresource) if info.subresource else None
        if subresource is None or subresource.kind == resource.kind:
            return resource
        return (
            (subresource.group, subresource.version, subresource.kind)
            if subresource.version
            else (resource.group, resource.version, subresource.kind)
        )

    def decode(self, info: RequestInfo, body: Object, options: WriteOptions, faults: Sequence[str] = ()) -> Object:
        """A private object of the body. Raises `BadRequest`; notes warnings."""
        what = self.body_type(info)
        body = check_kind(body, what)
        obj, warnings = self.kinds.decode(body, what, options.field_validation, faults)
        info.warnings += warnings
        return obj

    def recent_specs(self, what: What) -> Sequence[bytes]:
        """Texts of which a body's spec may be one that was seen before."""
        return self._settled.recent(what) if isinstance(what, Resource) else ()

    def _to_storage(self, resource: Resource, obj: Object) -> Object:
        obj = conversion.to_storage(resource, obj)
        self.kinds.strategy(resource).default(obj)
        return obj

    def _settle(
        self,
        info: RequestInfo,
        body: Object,
        options: WriteOptions,
        decode: Callable[[Object], Object],
        existing: Entry | None = None,
    ) -> Object:
        """An object of the body, decoded, in its stored version and defaulted. It and the members of its spec are
        private; what is in those may be others' too, and so may the spec be where it is that of `existing`."""
        resource = info.resource
        assert resource is not None
        meta = body.get("metadata")
        if isinstance(meta, dict) and meta.get("managedFields") == []:
            # An empty list resets the managers as `[{}]` does; decoded, it would be gone.
            body = {**body, "metadata": {**meta, "managedFields": RESET}}
        strategy = self.kinds.strategy(resource)
        key = info.spec_text = b""
        if strategy.defaults_spec_alone and options.field_validation != "Ignore":
            key = self._settled.key(body)
            known = self._settled.get(resource, key) if key else None
            if known is not None:
                old = existing.obj if existing is not None else _NO_OBJECT
                kept = [k for k in ("metadata", "status") if body.get(k) is not None and body[k] is old.get(k)]
                given = {k: v for k, v in body.items() if k != "spec" and k not in kept}
                if "metadata" in kept:
                    given["metadata"] = {"name": meta["name"]} if meta else {}
                try:
                    obj = decode(given)
                except errors.ApiError:
                    # Its message is to show the whole object.
                    return self._to_storage(resource, decode(body))
                # What a patch left alone was decoded before. Members of it are replaced, and never changed.
                for k in kept:
                    obj[k] = dict(old[k])
                info.spec_text, spec = known
                is_same = existing is not None and existing.obj.get("spec") is spec
                obj["spec"] = spec if is_same else dict(spec)
                return obj
        warnings = len(info.warnings)
        obj = self._to_storage(resource, decode(body))
        if key and len(info.warnings) == warnings:
            self._settled.put(resource, key, obj["spec"])
        return obj

    async def create(
        self, info: RequestInfo, body: Object, options: WriteOptions, faults: Sequence[str] = ()
    ) -> Written:
        resource = info.resource
        assert resource is not None
        handler = self._object_handlers.get((resource.group, resource.plural, info.subresource))
        if handler is not None:
            obj = self.decode(info, body, options, faults)
            if not info.subresource:
                # Reviews are kept nowhere, but who asked for what is noted in them all the same, as upstream.
                obj.setdefault("metadata", {})
                self.registry.managers.note_created(info, resource, obj)
            await self.registry.admit("CREATE", info, obj, None)
            return Written(await handler(info, obj), created=True)
        obj = self._settle(info, body, options, lambda given: self.decode(info, given, options, faults))
        return Written(await self.registry.create(info, obj), created=True)

    async def update(
        self, info: RequestInfo, body: Object, options: WriteOptions, faults: Sequence[str] = ()
    ) -> Written:
        resource = info.resource
        assert resource is not None
        strategy = subresources.strategy_for(info, self.kinds.strategy(resource), self.registry.clock)
        if info.subresource == "scale":
            wanted = self.decode(info, body, options, faults)
            _check_name(info, wanted)
            return await self._scale(info, lambda current: wanted, retry=not wanted["metadata"].get("resourceVersion"))

        def decoded(existing: Entry | None) -> Object:
            return self._settle(info, body, options, lambda given: self.decode(info, given, options, faults), existing)

        # What it replaces is not known for certain yet; mostly it is what is there now.
        first: Object | None = decoded(self.registry.storage.cached(resource, info.namespace, info.name))
        assert first is not None
        _check_name(info, first)

        async def replaced(existing: Entry | None) -> Object:
            nonlocal first
            if existing is None:
                self.authorize(info, "create")
            # An update without a version may be tried again, and must then start from what was sent.
            wanted, first = first, None
            return wanted if wanted is not None else decoded(existing)

        may_create = not info.subresource and self.kinds.strategy(resource).allow_create_on_update
        entry, created = await self.registry.update(info, replaced, strategy=strategy, may_create=may_create)
        return Written(entry, created)

    async def patch(self, info: RequestInfo, patch: Patch, options: WriteOptions) -> Written:
        resource = info.resource
        assert resource is not None
        patching.check_options(patch, options)
        what = self.body_type(info)
        if info.subresource == "scale":
            return await self._patch_scale(info, patch, what, options)
        if patch.type == APPLY_PATCH:
            return await self._apply(info, patch, options)
        strategy = subresources.strategy_for(info, self.kinds.strategy(resource), self.registry.clock)

        async def patched(existing: Entry | None) -> Object:
            assert existing is not None
            wanted = patching.apply(patch, existing.object_as(resource), what)
            return self._settle(
                info, wanted, options, lambda given: self._decode_patched(info, given, what, options, patch), existing
            )

        entry, created = await self.registry.update(info, patched, strategy=strategy, retry=True)
        return Written(entry, created)

    async def _patch_scale(self, info: RequestInfo, patch: Patch, what: What, options: WriteOptions) -> Written:
        is_apply = patch.type == APPLY_PATCH
        configuration = patching.configuration(patch) if is_apply else {}
        if is_apply:
            _check_applied_name(info, configuration)

        def patched(current: Object) -> Object:
            if is_apply:
                wanted = ssa.apply(
                    current,
                    configuration,
                    scaling.scale_scope(),
                    manager=options.field_manager,
                    force=options.force,
                    now=self.registry.clock.now(),
                )
                patching.tell_duplicates(patch, options.field_validation, info.warnings)
                return self._decode_patched(info, wanted, what, options)
            return self._decode_patched(info, patching.apply(patch, current, what), what, options, patch)

        return await self._scale(info, patched, retry=True, applied=is_apply)

    async def _scale(
        self, info: RequestInfo, change: Callable[[Object], Object], *, retry: bool, applied: bool = False
    ) -> Written:
        """Writes what `change` makes of the object's current Scale, which knows its managers as the object does."""
        resource = info.resource
        assert resource is not None
        strategy = subresources.strategy_for(info, self.kinds.strategy(resource), self.registry.clock)

        async def scaled(existing: Entry | None) -> Object:
            assert existing is not None
            entries = existing.obj["metadata"].get("managedFields")
            current = to_scale(resource, existing.obj)
            if of_scale := scaling.managers_of_scale(entries, resource.api_version):
                current["metadata"]["managedFields"] = of_scale
            scale = change(current)
            obj: Object = clone(existing.obj)
            from_scale(resource, obj, scale)
            if not applied:
                scale = self.registry.managers.scaled(info, current, scale)
            noted = scaling.managers_of_parent(entries, scale, resource.api_version)
            obj["metadata"].pop("managedFields", None)
            if noted:
                obj["metadata"]["managedFields"] = noted
            return obj

        entry, _ = await self.registry.update(info, scaled, strategy=strategy, retry=retry, applied=True)
        return Written(to_scale(resource, entry.obj))

    async def _apply(self, info: RequestInfo, patch: Patch, options: WriteOptions) -> Written:
        """Server-side apply: creates the object where it is not there."""
        resource = info.resource
        assert resource is not None
        configuration = patching.configuration(patch)
        _check_applied_name(info, configuration)

        async def applied(existing: Entry | None) -> Object:
            if existing is None:
                self.authorize(info, "create")
                uid = (configuration.get("metadata") or {}).get("uid")
                if uid:
                    raise errors.conflict(
                        resource.group,
                        resource.plural,
                        info.name,
                        f"uid mismatch: the provided object specified uid {uid}, and no existing object was found",
                    )
            live = existing.object_as(resource) if existing is not None else None
            obj = ssa.apply(
                live,
                configuration,
                scope_of(resource, info.subresource),
                manager=options.field_manager,
                force=options.force,
                now=self.registry.clock.now(),
                convert=converter(resource, None, live or configuration),
            )
            patching.tell_duplicates(patch, options.field_validation, info.warnings)
            meta = obj.setdefault("metadata", {})
            meta.setdefault("name", info.name)
            return self._settle(
                info, obj, options, lambda given: self._decode_patched(info, given, resource, options), existing
            )

        strategy = subresources.strategy_for(info, self.kinds.strategy(resource), self.registry.clock)
        entry, created = await self.registry.update(
            info, applied, strategy=strategy, may_create=not info.subresource, retry=True, applied=True
        )
        return Written(entry, created)

    def _decode_patched(
        self, info: RequestInfo, obj: Object, what: What, options: WriteOptions, patch: Patch | None = None
    ) -> Object:
        """The object that `patch` made; None for a server-side apply, whose configuration was looked at already."""
        faults, shown = (patch.faults, patching.shown(patch)) if patch is not None else ((), None)
        decoded, warnings = self.kinds.decode_patched(
            check_kind(obj, what), what, options.field_validation, faults, shown
        )
        # Another try adds them again, by which `_settle` knows what had faults; replies tell each text once.
        info.warnings += warnings
        _check_name(info, decoded)
        return decoded

    async def delete(self, info: RequestInfo, options: DeleteOptions) -> Deleted:
        return await self._deleter.delete(info, options)

    async def delete_collection(self, info: RequestInfo, list_options: ListOptions, options: DeleteOptions) -> Listing:
        return await self._deleter.delete_collection(info, list_options, options)

    async def admit_connection(self, info: RequestInfo) -> None:
        await self.registry.admit("CONNECT", info, None, None)


def _check_applied_name(info: RequestInfo, configuration: Object) -> None:
    """An applied configuration may leave its name out."""
    meta = configuration.get("metadata")
    if meta is not None and not isinstance(meta, dict):
        shown = f"{info.namespace}/{info.name}; {configuration.get('apiVersion')}, Kind={configuration.get('kind')}"
        raise errors.BadRequest(
            f"failed to create typed patch object ({shown}): .metadata: expected map, got &{{{meta}}}"
        )
    _check_name(info, {"metadata": {"name": info.name, **(meta or {})}})


def _selected_name(field_selector: str) -> str:
    """The name that a field selector fixes, which counts as the request's name for authorization."""
    try:
        name = parse_field_selector(field_selector).exact("metadata.name")
    except SelectorError:
        # The request is refused for it later, and may not be let in by it now.
        return ""
    return "" if not name or path_segment_name(name) else name


def check_kind(body: Object, what: What) -> Object:
    """The body with apiVersion and kind, which it may leave out. Raises `BadRequest` where they are others."""
    if isinstance(what, Resource):
        api_version, kind = what.api_version, what.kind
    else:
        api_version, kind = f"{what[0]}/{what[1]}" if what[0] else what[1], what[2]
    own_version, own_kind = body.get("apiVersion") or "", body.get("kind") or ""
    if own_version == api_version and own_kind == kind:
        return body
    for name, own in (("apiVersion", own_version), ("kind", own_kind)):
        # Bodies were looked at when they were parsed; what a patch made of an object was not.
        if not isinstance(own, str):
            raise errors.BadRequest(
                "couldn't get version/kind; json parse error: "
                f"json: cannot unmarshal {GO_KINDS[type(own)]} into Go struct field .{name} of type string"
            )
    if own_version and own_version != api_version:
        raise errors.BadRequest(
            f"the API version in the data ({own_version}) does not match the expected API version ({api_version})"
        )
    if own_kind and own_kind != kind:
        group, _, version = api_version.rpartition("/")
        if by_kind(api_version, own_kind) is not None:
            internal = group.partition(".")[0] or "core"
            why = f"converting ({version}.{own_kind}) to ({internal}.{kind}): unknown conversion"
        else:
            why = f'no kind "{own_kind}" is registered for version "{api_version}"'
        raise errors.BadRequest(f'{own_kind} in version "{version}" cannot be handled as a {kind}: {why}')
    return {**body, "apiVersion": api_version, "kind": kind}


def _check_name(info: RequestInfo, obj: Any) -> None:
    meta = obj.get("metadata") or {}
    name = meta.get("name")
    if not name:
        raise errors.BadRequest(
            f"the name of the object ({info.name} based on URL) was undeterminable: name must be provided"
        )
    if name != info.name:
        raise errors.BadRequest(f"the name of the object ({name}) does not match the name on the URL ({info.name})")
    namespace = meta.get("namespace")
    if info.namespace and namespace and namespace != info.namespace:
        raise errors.BadRequest(
            f"the namespace of the object ({namespace}) does not match the namespace on the request ({info.namespace})"
        )

"""A request's objects as webhooks and policies see them: in the version that they ask for, of the kind that travels.

Requests carry the stored object. A webhook that asks for another version gets it converted; one that watches a scale
subresource gets the Scale; for a connection there are the options of its query. `Views` makes each form once for one
request. What a mutation returns goes the same way back (`replace`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pybernetes.api.json_values import same_json
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.kinds.scale import from_scale, to_scale
from pybernetes.api.meta import Object
from pybernetes.api.resources import NAMESPACES, Resource
from pybernetes.api.schema import decode as schema
from pybernetes.apiserver import conversion
from pybernetes.apiserver.interfaces import AdmissionRequest, RequestInfo
from pybernetes.apiserver.options import DeleteOptions, flag

GroupVersionKind = tuple[str, str, str]

_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
_SWITCHES = ("stdin", "stdout", "stderr", "tty")


@dataclass(frozen=True, slots=True)
class View:
    """A request in one version. The objects are shared: never mutate them."""

    resource: Resource
    kind: GroupVersionKind
    object: Object | None
    old: Object | None


def kind_of(resource: Resource, subresource: str) -> GroupVersionKind:
    """The kind that travels in such requests."""
    found = resource.subresource(subresource) if subresource else None
    if found is None or found.kind == resource.kind:
        return resource.group, resource.version, resource.kind
    if found.version:
        return found.group, found.version, found.kind
    return resource.group, resource.version, found.kind


class Views:
    """The forms of one request. After a mutation, make a new one."""

    def __init__(self, request: AdmissionRequest) -> None:
        self.request = request
        self._made: dict[Resource, View] = {}

    def of(self, resource: Resource) -> View:
        view = self._made.get(resource)
        if view is None:
            request = self.request
            kind = kind_of(resource, request.subresource)
            obj = self._form(resource, kind, request.object)
            if obj is None and request.operation == "CONNECT" and request.info is not None:
                obj = connect_options(request.info, kind)
            view = self._made[resource] = View(resource, kind, obj, self._form(resource, kind, request.old))
        return view

    def _form(self, resource: Resource, kind: GroupVersionKind, obj: Object | None) -> Object | None:
        if obj is None:
            return None
        if self.request.subresource == "scale":
            return to_scale(resource, obj)
        api_version = _api_version(kind)
        if self.request.subresource and kind[2] != resource.kind:
            # A binding, an eviction, a token request: one version each.
            return {**obj, "apiVersion": api_version, "kind": kind[2]}
        converted = conversion.from_storage(resource, obj)
        if converted.get("apiVersion") != api_version or converted.get("kind") != kind[2]:
            converted = {**converted, "apiVersion": api_version, "kind": kind[2]}
        return converted

    def replace(self, view: View, obj: Any) -> bool:
        """Puts a mutated object, in the form of `view`, in the place of the request's; whether that changed it.
        Raises BadRequest where it is none of its kind."""
        request = self.request
        current = request.object
        assert current is not None
        if request.subresource == "scale":
            scale, _ = schema.decode(obj, view.kind, "Ignore")
            before = (current.get("spec") or {}).get("replicas")
            from_scale(request.resource, current, scale)
            return bool((current.get("spec") or {}).get("replicas") != before)
        if request.subresource and view.kind[2] != view.resource.kind:
            new, _ = schema.decode(obj, view.kind, "Ignore")
        else:
            new, _ = schema.decode(obj, view.resource, "Ignore")
            new = conversion.to_storage(view.resource, new)
            strategy_for(request.resource).default(new)
        if same_json(new, current):
            return False
        _refill(current, new)
        return True


def _refill(obj: Object, new: Object) -> None:
    """Gives `obj` the content of `new` in place, and its metadata too: the registry holds on to both."""
    meta = obj.get("metadata")
    obj.clear()
    obj.update(new)
    if meta is not None:
        meta_now = new.get("metadata") or {}
        meta.clear()
        meta.update(meta_now)
        obj["metadata"] = meta


def _api_version(kind: GroupVersionKind) -> str:
    return f"{kind[0]}/{kind[1]}" if kind[0] else kind[1]


def connect_options(info: RequestInfo, kind: GroupVersionKind) -> Object:
    """The options object of a connection, as its query says."""
    options: Object = {"kind": kind[2], "apiVersion": _api_version(kind)}
    query = info.query
    match kind[2]:
        case "PodExecOptions" | "PodAttachOptions":
            options |= {name: True for name in _SWITCHES if flag(query, name)}
            if query.get("container"):
                options["container"] = query["container"]
            if kind[2] == "PodExecOptions":
                options["command"] = _all(info, "command") or None
        case "PodPortForwardOptions":
            ports = [int(p) for p in _all(info, "ports") if p.isdigit()]
            if ports:
                options["ports"] = ports
        case _:
            if info.subpath or query.get("path"):
                options["path"] = info.subpath or query["path"]
    return options


def _all(info: RequestInfo, name: str) -> list[str]:
    found = info.query_lists.get(name)
    if found is not None:
        return list(found)
    return [info.query[name]] if name in info.query else []


def operation_options(request: AdmissionRequest) -> Object | None:
    """The CreateOptions, UpdateOptions, PatchOptions or DeleteOptions of a request, as reviews carry them."""
    info = request.info
    kind = _OPTIONS.get(request.operation)
    if kind is None or info is None:
        return None
    if info.verb == "patch" and request.operation != "DELETE":
        kind = "PatchOptions"
    options: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if request.operation == "DELETE":
        options |= _delete_options(request.options)
    else:
        manager = info.field_manager or info.query.get("fieldManager")
        if manager:
            options["fieldManager"] = manager
        if info.query.get("fieldValidation"):
            options["fieldValidation"] = info.query["fieldValidation"]
        if kind == "PatchOptions" and flag(info.query, "force"):
            options["force"] = True
    if request.dry_run:
        options["dryRun"] = ["All"]
    return options


def _delete_options(given: DeleteOptions | None) -> Object:
    if given is None:
        return {}
    options: Object = {
        "gracePeriodSeconds": given.grace_period_seconds,
        "propagationPolicy": given.propagation_policy,
        "orphanDependents": given.orphan_dependents,
    }
    preconditions = {"uid": given.uid, "resourceVersion": given.resource_version}
    options["preconditions"] = {k: v for k, v in preconditions.items() if v} or None
    return {k: v for k, v in options.items() if v is not None}


def user_info(request: AdmissionRequest) -> Object:
    """``authentication.k8s.io/v1 UserInfo``."""
    user = request.user
    info: Object = {}
    for name, value in (("username", user.name), ("uid", user.uid), ("groups", list(user.groups))):
        if value:
            info[name] = value
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def request_fields(views: Views, resource: Resource) -> Object:
    """The fields of an AdmissionRequest that is shown in the version of `resource`, without uid and objects."""
    request = views.request
    view = views.of(resource)
    asked = (request.info.resource if request.info is not None else None) or request.resource
    fields: Object = {
        "kind": _named(view.kind, "kind"),
        "resource": _named((resource.group, resource.version, resource.plural), "resource"),
        "requestKind": _named(kind_of(asked, request.subresource), "kind"),
        "requestResource": _named((asked.group, asked.version, asked.plural), "resource"),
        "operation": request.operation,
        "userInfo": user_info(request),
        "dryRun": request.dry_run,
        "options": operation_options(request),
    }
    # A Namespace that is there counts as being in itself.
    is_namespace = request.resource == NAMESPACES and request.operation != "CREATE"
    namespace = request.name if is_namespace else request.namespace
    for name, value in (("name", request.name), ("namespace", namespace)):
        if value:
            fields[name] = value
    if request.subresource:
        fields["subResource"] = fields["requestSubResource"] = request.subresource
    return fields


def _named(parts: GroupVersionKind, last: str) -> Object:
    return {"group": parts[0], "version": parts[1], last: parts[2]}

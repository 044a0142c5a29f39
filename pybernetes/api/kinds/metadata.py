"""Validation of ObjectMeta, shared by all kinds: `validate_object_meta` at creation, `validate_object_meta_update`
at every update. Pure.

Source of rules and texts: ``k8s.io/apimachinery/pkg/api/validation/objectmeta.go``.
"""

from __future__ import annotations

import json
from typing import Any

from pybernetes.api import names
from pybernetes.api.kinds import labels
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, metadata
from pybernetes.api.resources import BUILTIN, Resource, by_kind

STANDARD_FINALIZERS = frozenset(("kubernetes", "orphan", "foregroundDeletion"))


def validate_object_meta(obj: Object, resource: Resource, strategy: Strategy) -> Faults:
    """Every fault of a new object's metadata. A generateName must have been turned into a name before."""
    faults = Faults()
    meta = metadata(obj)
    prefix = meta.get("generateName")
    if prefix:
        faults.each("metadata.generateName", prefix, strategy.validate_name(prefix, prefix=True))
    name = meta.get("name")
    if not name:
        faults.required("metadata.name", "name or generateName is required")
    else:
        faults.each("metadata.name", name, strategy.validate_name(name, prefix=False))
    namespace = meta.get("namespace")
    if not resource.namespaced:
        if namespace:
            faults.forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        faults.required("metadata.namespace")
    else:
        faults.each("metadata.namespace", namespace, names.dns_label(namespace))
    _common(faults, meta)
    finalizers = meta.get("finalizers") or ()
    if finalizers:
        _finalizers(faults, finalizers)
        if _wants_qualified(resource):
            _finalizer_names(faults, finalizers)
    return faults


def _wants_qualified(resource: Resource | None) -> bool:
    """Whether finalizers need a domain: kinds of Kubernetes proper want one, custom resources and the kinds of the
    extension servers do not."""
    return resource in _BUILTIN and resource.group not in _EXTENSION_GROUPS


_BUILTIN = frozenset(BUILTIN)
_EXTENSION_GROUPS = ("apiextensions.k8s.io", "apiregistration.k8s.io")
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def validate_object_meta_update(obj: Object, old: Object) -> Faults:
    """Every fault of an object's new metadata, and every change of what may not change.

    The registry fills in what a client may leave out (uid, creationTimestamp, ...) before it asks.
    """
    faults = Faults()
    meta, before = metadata(obj), metadata(old)
    finalizers = meta.get("finalizers") or ()
    if before.get("deletionTimestamp"):
        added = sorted(set(finalizers) - set(before.get("finalizers") or ()))
        if added:
            listed = ", ".join(json.dumps(f) for f in added)
            faults.forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}",
            )
    if not meta.get("resourceVersion"):
        faults.invalid("metadata.resourceVersion", meta.get("resourceVersion") or "", "must be specified for an update")
    if (meta.get("generation") or 0) < (before.get("generation") or 0):
        faults.invalid("metadata.generation", meta.get("generation") or 0, "must not be decremented")
    for name in _IMMUTABLE:
        if meta.get(name) != before.get(name):
            faults.invalid(f"metadata.{name}", meta.get(name), "field is immutable")
    _common(faults, meta)
    if finalizers and _wants_qualified(by_kind(obj.get("apiVersion") or "", obj.get("kind") or "")):
        _finalizer_names(faults, finalizers)
    return faults


def _common(faults: Faults, meta: Object) -> None:
    faults.not_negative("metadata.generation", meta.get("generation"))
    if meta.get("labels"):
        labels.label_map(faults, "metadata.labels", meta["labels"])
    if meta.get("annotations"):
        labels.annotation_map(faults, "metadata.annotations", meta["annotations"])
    if meta.get("ownerReferences"):
        _owner_references(faults, meta["ownerReferences"])


def _owner_references(faults: Faults, references: list[Object]) -> None:
    path = "metadata.ownerReferences"
    controller = ""
    for reference in references:
        api_version, kind = reference.get("apiVersion") or "", reference.get("kind") or ""
        group, _, version = api_version.rpartition("/")
        if not version:
            faults.invalid(f"{path}.apiVersion", api_version, "version must not be empty")
        if not kind:
            faults.invalid(f"{path}.kind", kind, "must not be empty")
        for name in ("name", "uid"):
            if not reference.get(name):
                faults.invalid(f"{path}.{name}", reference.get(name) or "", "must not be empty")
        if (group, version, kind) == ("", "v1", "Event"):
            faults.invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner")
        if reference.get("controller"):
            this = f"{kind}/{reference.get('name') or ''}"
            if controller:
                faults.invalid(
                    path,
                    references,
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {this}',
                )
            else:
                controller = this


def _finalizers(faults: Faults, finalizers: Any) -> None:
    path = "metadata.finalizers"
    for finalizer in finalizers:
        faults.each(path, finalizer, names.qualified_name(finalizer))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        faults.invalid(path, list(finalizers), "finalizer orphan and foregroundDeletion cannot be both set")


def _finalizer_names(faults: Faults, finalizers: Any) -> None:
    for i, finalizer in enumerate(finalizers):
        kube_finalizer(faults, f"metadata.finalizers[{i}]", finalizer)


def kube_finalizer(faults: Faults, path: str, finalizer: str) -> None:
    """A qualified name, or one of the few old unqualified ones."""
    if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
        faults.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")

"""The scale subresource: autoscaling/v1 Scale of whatever has replicas.

Source: ``pkg/registry/apps`` (scaleFromDeployment and its siblings).
"""

from __future__ import annotations

from pybernetes.api import errors, selectors
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object, metadata, name_of
from pybernetes.api.resources import Resource

_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def to_scale(resource: Resource, obj: Object) -> Object:
    """The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController."""
    meta, spec, status = metadata(obj), obj.get("spec") or {}, obj.get("status") or {}
    selector = spec.get("selector")
    if resource.kind == "ReplicationController":
        text = str(selectors.from_set(selector))
    else:
        try:
            text = str(selectors.from_label_selector(selector))
        except selectors.SelectorError:
            # A stored selector that today's rules refuse: autoscalers then find no pods.
            text = ""
    scale_status: Object = {"replicas": status.get("replicas") or 0}
    if text:
        scale_status["selector"] = text
    replicas = spec.get("replicas") or 0
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {k: meta[k] for k in _COPIED if k in meta},
        "spec": {"replicas": replicas} if replicas else {},
        "status": scale_status,
    }


def from_scale(resource: Resource, obj: Object, scale: Object) -> None:
    """Sets the replicas of `obj` (a private copy) from a Scale.

    Raises `Invalid` for a bad Scale, `BadRequest` for another object's, `Conflict` where it names another version.
    """
    name, given = name_of(obj), metadata(scale)
    if given.get("name") and given["name"] != name:
        raise errors.BadRequest(f"the name of the object ({given['name']}) does not match the name on the URL ({name})")
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    faults = Faults()
    faults.not_negative("spec.replicas", replicas)
    if faults:
        raise errors.invalid("autoscaling", "Scale", name, faults)
    if given.get("uid") and given["uid"] != metadata(obj).get("uid"):
        raise errors.conflict(
            resource.group,
            resource.plural,
            name,
            f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {metadata(obj).get('uid')}",
        )
    if given.get("resourceVersion") and given["resourceVersion"] != metadata(obj).get("resourceVersion"):
        raise errors.conflict(resource.group, resource.plural, name, errors.MODIFIED)
    obj.setdefault("spec", {})["replicas"] = replicas

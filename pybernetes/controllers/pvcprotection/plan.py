"""Whether a claim is in use, and what becomes of its finalizer. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pybernetes.api.meta import Object, is_deleting, metadata, name_of, namespace_of
from pybernetes.controllers import pods as podstate

FINALIZER = "kubernetes.io/pvc-protection"


def claims_of(pod: Object) -> list[str]:
    """The names of the claims that a pod's volumes use, ephemeral ones among them."""
    names: list[str] = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim") is not None:
            names.append(str(volume["persistentVolumeClaim"].get("claimName")))
        elif volume.get("ephemeral") is not None:
            names.append(f"{name_of(pod)}-{volume.get('name')}")
    return names


def by_claim(pod: Object) -> Iterable[str]:
    """Index of pods under the keys of the claims they use."""
    return [f"{namespace_of(pod)}/{name}" for name in claims_of(pod)]


def is_used_by(pod: Object) -> bool:
    """Whether a pod that names the claim uses it: not before it is placed, not after it has ended."""
    return bool(podstate.node_name_of(pod)) and not podstate.is_terminal(pod)


def plan_finalizers(obj: Object, finalizer: str, *, in_use: bool) -> list[str] | None:
    """The finalizers to write, None where they stay: ours is there from the start, and goes with the last user of
    an object that is being deleted."""
    present = list(metadata(obj).get("finalizers") or ())
    if is_deleting(obj):
        if finalizer in present and not in_use:
            return [f for f in present if f != finalizer]
    elif finalizer not in present:
        return [*present, finalizer]
    return None

"""Volumes by claim: a PersistentVolumeClaim bound to a volume that is the node's own storage (hostPath or local)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from pybernetes.api import errors
from pybernetes.api.meta import Object, metadata, name_of, namespace_of, uid_of
from pybernetes.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from pybernetes.client.interface import Client
from pybernetes.kubelet.volumes.interface import Mounted, PluginContext, VolumeError, VolumeRequest
from pybernetes.kubelet.volumes.local import check_host_path, remove_tree


class APIClaims:
    """Claims and volumes read from the API when a pod starts: they are few, and fixed once bound."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def volume_of(self, namespace: str, claim: str) -> tuple[Object, Object]:
        try:
            found = await self._client.get(PERSISTENTVOLUMECLAIMS, claim, namespace)
        except errors.NotFound:
            raise VolumeError(f'persistentvolumeclaim "{claim}" not found') from None
        if metadata(found).get("deletionTimestamp"):
            raise VolumeError(f"can't start pod because PVC {namespace}/{claim} is being deleted")
        volume_name = (found.get("spec") or {}).get("volumeName")
        if not volume_name or (found.get("status") or {}).get("phase") != "Bound":
            raise VolumeError(f'PVC {namespace}/{claim} is not bound yet: "{(found.get("status") or {}).get("phase")}"')
        try:
            volume = await self._client.get(PERSISTENTVOLUMES, volume_name)
        except errors.NotFound:
            raise VolumeError(f'persistentvolume "{volume_name}" not found') from None
        reference = (volume.get("spec") or {}).get("claimRef") or {}
        if reference.get("uid") and reference["uid"] != uid_of(found):
            raise VolumeError(f"PV {volume_name} is bound to another claim than {namespace}/{claim}")
        return found, volume


class Claim:
    """A persistent volume of the node's own file system, as its claim gives it."""

    name: ClassVar[str] = "kubernetes.io~local-volume"
    live: ClassVar[bool] = False

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def set_up(self, request: VolumeRequest) -> Mounted:
        source = request.volume.get("persistentVolumeClaim") or {}
        own_claim = f"{name_of(request.pod)}-{request.name}"
        claim_name = own_claim if "ephemeral" in request.volume else source["claimName"]
        claim, volume = await self._context.claims.volume_of(namespace_of(request.pod), claim_name)
        if "ephemeral" in request.volume and not any(
            ref.get("uid") == uid_of(request.pod) for ref in metadata(claim).get("ownerReferences") or ()
        ):
            raise VolumeError(f"PVC {namespace_of(request.pod)}/{claim_name} was not created for pod: pod is not owner")
        own = volume.get("spec") or {}
        if own.get("hostPath"):
            path = Path(own["hostPath"]["path"])
            check_host_path(path, own["hostPath"].get("type") or "")
            if not own["hostPath"].get("type"):
                path.mkdir(mode=0o777, parents=True, exist_ok=True)
        elif own.get("local"):
            path = Path(own["local"]["path"])
            if not path.exists():
                raise VolumeError(f'path "{path}" does not exist')
        else:
            raise VolumeError("no volume plugin matched")
        if request.fs_group is not None:
            _give_to_group(path, request.fs_group, _policy(request.pod))
        modes = own.get("accessModes") or ()
        return Mounted(path, read_only=bool(source.get("readOnly")) or list(modes) == ["ReadOnlyMany"])

    async def tear_down(self, directory: Path) -> None:
        remove_tree(directory)

    def renew_at(self, request: VolumeRequest) -> float | None:
        return None


def _policy(pod: Object) -> str:
    own = (pod.get("spec") or {}).get("securityContext") or {}
    return str(own.get("fsGroupChangePolicy") or "Always")


def _give_to_group(path: Path, group: int, policy: str) -> None:
    """fsGroup owns the volume and new files in it."""
    try:
        if policy == "OnRootMismatch":
            root = path.stat()
            if root.st_gid == group and root.st_mode & 0o2070 == 0o2070:
                return
        os.chown(path, -1, group)
        path.chmod(path.stat().st_mode & 0o7777 | 0o2770)
        for parent, directories, files in os.walk(path):
            for name in directories:
                step = Path(parent, name)
                if not step.is_symlink():
                    os.chown(step, -1, group)
                    step.chmod(step.stat().st_mode & 0o7777 | 0o2770)
            for name in files:
                step = Path(parent, name)
                os.chown(step, -1, group, follow_symlinks=False)
                if not step.is_symlink():
                    step.chmod(step.stat().st_mode & 0o7777 | 0o660)
    except OSError as error:
        raise VolumeError(f"applying fsGroup: {error}") from error

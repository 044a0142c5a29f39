"""Sets up a pod's volumes, keeps the living ones true, and tears all of them down.

The volumes of a pod lie at ``pods/UID/volumes/PLUGIN/NAME``, so that what a killed kubelet left is found again by its
path alone. A pod's own worker is the only caller for its pod: calls for one pod do not overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pybernetes.api import errors
from pybernetes.api.meta import Object, uid_of
from pybernetes.kubelet.downward import PodFacts
from pybernetes.kubelet.identity import pod_directory
from pybernetes.kubelet.volumes import mounts
from pybernetes.kubelet.volumes.claims import Claim
from pybernetes.kubelet.volumes.content import ConfigMap, DownwardAPI, Projected, Secret
from pybernetes.kubelet.volumes.interface import Mounted, PluginContext, VolumeError, VolumePlugin, VolumeRequest
from pybernetes.kubelet.volumes.local import EmptyDir, HostPath, remove_tree

#: Which plugin serves which field of a volume.
PLUGINS: Mapping[str, type[VolumePlugin]] = {
    "emptyDir": EmptyDir,
    "hostPath": HostPath,
    "configMap": ConfigMap,
    "secret": Secret,
    "downwardAPI": DownwardAPI,
    "projected": Projected,
    "persistentVolumeClaim": Claim,
    "ephemeral": Claim,
}


class VolumesNotReady(Exception):
    """Some volumes cannot be set up; `failures` has the text by volume name."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__("; ".join(failures.values()))
        self.failures = failures


class VolumeManager:
    """Volumes of all pods of a node."""

    def __init__(self, root: Path, context: PluginContext) -> None:
        self._root = root
        self._plugins: dict[str, VolumePlugin] = {}
        for field, plugin in PLUGINS.items():
            self._plugins[field] = plugin(context)  # type: ignore[call-arg]

    def _request(self, pod: Object, volume: Object, facts: PodFacts) -> tuple[VolumePlugin | None, VolumeRequest]:
        plugin = next((self._plugins[f] for f in volume if f in self._plugins), None)
        if plugin is None and set(volume) == {"name"}:
            plugin = self._plugins["emptyDir"]
        place = plugin.name if plugin is not None else "unknown"
        directory = pod_directory(self._root, uid_of(pod)) / "volumes" / place / str(volume["name"])
        return plugin, VolumeRequest(pod, volume, directory, facts)

    async def set_up(
        self, pod: Object, facts: PodFacts, *, mounted: Mapping[str, Mounted] | None = None
    ) -> dict[str, Mounted]:
        """Every volume of the pod by name. With `mounted` (what an earlier call returned) only living volumes are
        made anew. Raises `VolumesNotReady` after trying all of them."""
        done: dict[str, Mounted] = dict(mounted or {})
        failures: dict[str, str] = {}
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            plugin, request = self._request(pod, volume, facts)
            if mounted is not None and request.name in mounted and not (plugin is not None and plugin.live):
                continue
            try:
                if plugin is None:
                    raise VolumeError("no volume plugin matched")
                done[request.name] = await plugin.set_up(request)
            except VolumeError as error:
                failures[request.name] = f'MountVolume.SetUp failed for volume "{request.name}" : {error}'
            except errors.ApiError as error:
                failures[request.name] = f'MountVolume.SetUp failed for volume "{request.name}" : {error.message}'
        if failures:
            raise VolumesNotReady(failures)
        return done

    def has_living(self, pod: Object) -> bool:
        """Whether any volume of the pod follows something that may change."""
        volumes = (pod.get("spec") or {}).get("volumes") or ()
        return any(self._plugins[f].live for v in volumes for f in v if f in self._plugins)

    def renew_at(self, pod: Object, facts: PodFacts) -> float | None:
        """When `set_up` must be called again, whatever happens."""
        times = []
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            plugin, request = self._request(pod, volume, facts)
            if plugin is not None:
                times.append(plugin.renew_at(request))
        return min((t for t in times if t is not None), default=None)

    async def tear_down(self, uid: str) -> None:
        """Tears down whatever volumes lie in the pod's directory. Raises `VolumeError`. Twice is fine."""
        base = pod_directory(self._root, uid)
        remove_tree(base / "volume-subpaths")
        by_name = {plugin.name: plugin for plugin in self._plugins.values()}
        volumes = base / "volumes"
        if not volumes.is_dir():
            return
        for place in sorted(volumes.iterdir()):
            for directory in sorted(place.iterdir()) if place.is_dir() else ():
                plugin = by_name.get(place.name)
                if plugin is None:
                    remove_tree(directory)
                else:
                    await plugin.tear_down(directory)
        remove_tree(volumes)

    def remove_pod_directory(self, uid: str) -> None:
        """Removes the rest of a pod's directory once its containers are gone. Raises `VolumeError`."""
        directory = pod_directory(self._root, uid)
        if mounts.mount_points(directory):
            mounts.unmount_below(directory)
        remove_tree(directory)

    def leftovers(self) -> set[str]:
        """Uids that have a directory here."""
        pods = self._root / "pods"
        return {p.name for p in pods.iterdir()} if pods.is_dir() else set()

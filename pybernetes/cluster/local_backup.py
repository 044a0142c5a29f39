"""Backup and restore of a local cluster: its server's data directory, with the cluster's specification beside it, so
that the same cluster can be made again on a machine that has none.

A restore into a running cluster stops its server, and its agents where the certificates change, and leaves their start
to `LocalCluster.up`; pods' processes run on meanwhile, and the agents settle them with what the restored cluster asks.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Protocol

from pybernetes.cluster import backup, processes, requirements, uplink
from pybernetes.cluster.backup import Restored, RestoreRefused
from pybernetes.cluster.errors import ClusterError
from pybernetes.cluster.layout import ClusterSpec, Layout, clusters
from pybernetes.cluster.lock import locked
from pybernetes.store import archive
from pybernetes.store.archive import Summary

_SPEC = "cluster"
_STOP_SECONDS = 20.0


class Progress(Protocol):
    def step(self, text: str) -> contextlib.AbstractContextManager[None]: ...


async def back_up(target: Path, layout: Layout) -> Summary:
    """Of a cluster that runs or does not. Raises `UnknownCluster`, StoreError, OSError."""
    spec = layout.read_spec()
    data_dir = layout.server_state
    return await backup.back_up(target, data_dir, backup.sqlite_pages(data_dir), extra={_SPEC: asdict(spec)})


def restore(path: Path, layout: Layout, *, force: bool, bump_revision: int, progress: Progress) -> Restored:
    """Afterwards what ran of the cluster is stopped, as far as the restore needs it; starting it again is the
    caller's, also where this fails. Raises what `backup.restore` raises, and `NotRoot`."""
    requirements.check_root()
    summary = archive.verify(path)
    with locked(layout):
        names = ["server"]
        if layout.exists:
            names += layout.read_spec().node_names
        running = {n: p for n in names if (p := processes.read_pid_file(layout.pid_file(n))) is not None}
        if running and not force:
            raise RestoreRefused(
                f'the cluster "{layout.name}" is running',
                hint="replace its state with --force: the server is stopped for that and started again",
            )
        if not layout.exists:
            _settle_spec(layout, summary, path)
        if "server" in running:
            with progress.step("Stopping the server"):
                processes.stop(running["server"], timeout_seconds=_STOP_SECONDS)
        with progress.step("Restoring"):
            restored = backup.restore(path, layout.server_state, force=force, bump_revision=bump_revision)
        if restored.new_pki:
            agents = [p for n, p in running.items() if n != "server"]
            processes.stop_all(agents, timeout_seconds=_STOP_SECONDS)
    return restored


def _settle_spec(layout: Layout, summary: Summary, path: Path) -> None:
    """Writes the specification of a cluster that is not there yet, from the backup's."""
    found: Any = summary.head.extra.get(_SPEC)
    if not isinstance(found, dict):
        raise ClusterError(
            f'there is no cluster "{layout.name}", and {path} is the backup of a server, not of a local cluster',
            hint=f"make the cluster first (p8s up --name {layout.name}), then restore into it with --force",
        )
    known = {f.name for f in fields(ClusterSpec)}
    spec = ClusterSpec(**{k: v for k, v in found.items() if k in known})
    reserved = [other.read_spec().api_port for other in clusters(layout.roots)]
    port = spec.api_port
    if port in reserved or not requirements.port_is_free("127.0.0.1", port):
        port = requirements.choose_port(None, reserved)
    spec = replace(
        spec,
        name=layout.name,
        api_port=port,
        uplink_subnet="" if spec.isolated else uplink.find_subnet(layout.name),
    )
    layout.write_spec(spec)

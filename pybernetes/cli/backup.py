"""``p8s backup`` and ``p8s restore``: of a local cluster, or of a `p8s server` by its data directory and datastore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pybernetes.cli.datastore import connection_options, take_connection_options
from pybernetes.cli.options import name_option

if TYPE_CHECKING:
    from pybernetes.cluster.layout import Layout
    from pybernetes.store.archive import Summary
    from pybernetes.store.etcd.config import EtcdConfig

F = TypeVar("F", bound=Callable[..., Any])

BUMP_BY_WRITES = 100_000
"""How far beyond a backup's revision a restore brings an etcd that has not come so far: it takes a write each."""
_BUMP_BY_WRITES_MAX = 5_000_000


def _target_options(command: F) -> F:
    data_dir = click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Not a local cluster but the server with this data directory.",
    )
    return name_option(data_dir(connection_options(command)))


def _take_target(data_dir: Path | None, options: dict[str, Any]) -> EtcdConfig | None:
    """The etcd that is meant, None for a directory's own store or a local cluster. Raises click.UsageError."""
    etcd = take_connection_options(options)
    datastore = options.pop("datastore")
    if datastore == "memory":
        raise click.UsageError("what a server keeps in memory is gone with it: there is nothing to back up or restore")
    if etcd is not None and data_dir is None:
        raise click.UsageError("with a datastore in etcd, --data-dir says where the server's certificates are")
    return etcd


@click.command("backup")
@_target_options
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup_command(file: Path, name: str, data_dir: Path | None, **options: Any) -> None:
    """Write a backup of a cluster to FILE: every object, as of one moment, with the cluster's certificates and keys.

    The cluster may run, and goes on undisturbed. FILE appears when it is whole. It holds the cluster's secrets and is
    readable to its owner alone.
    """
    from pybernetes.cluster import backup, local_backup
    from pybernetes.cluster.layout import Layout

    etcd = _take_target(data_dir, options)
    if data_dir is None:
        summary = asyncio.run(local_backup.back_up(file, Layout.of(name)))
    elif etcd is None:
        summary = asyncio.run(backup.back_up(file, data_dir, backup.sqlite_pages(data_dir)))
    else:
        summary = asyncio.run(_back_up_etcd(file, data_dir, etcd))
    size = file.stat().st_size
    click.echo(f"{summary.keys} objects as of revision {summary.head.revision} are in {file} ({size / 1024:.0f} KiB).")


@click.command("restore")
@_target_options
@click.option("--force", is_flag=True, help="Replace what is there. Of a local cluster, the server is restarted.")
@click.option(
    "--bump-revision",
    type=click.IntRange(1),
    metavar="N",
    help="How far beyond the backup's revision to go on, so that no client has seen a higher one."
    "  [default: 1000000000; 100000 in etcd, where each takes a write]",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore_command(
    file: Path, name: str, data_dir: Path | None, force: bool, bump_revision: int | None, **options: Any
) -> None:
    """Make a cluster what it was when the backup FILE was written.

    FILE is checked as a whole first. What was there before is kept beside the new state, in a directory that is named;
    a store in etcd is overwritten. Interrupted, a restore leaves the old state or the new; in etcd, run it again.
    """
    from pybernetes.cluster import backup

    etcd = _take_target(data_dir, options)
    if data_dir is None:
        from pybernetes.cluster.layout import Layout

        _restore_local(file, Layout.of(name), force=force, bump_revision=bump_revision or backup.BUMP_REVISION)
    elif etcd is None:
        restored = backup.restore(file, data_dir, force=force, bump_revision=bump_revision or backup.BUMP_REVISION)
        _say_restored(restored.summary, restored.replaced)
    else:
        bump = bump_revision or BUMP_BY_WRITES
        asyncio.run(_check_etcd(file, etcd, force=force, bump=bump))
        restored = backup.restore(file, data_dir, force=force, with_store=False)
        asyncio.run(_restore_etcd(file, etcd, restored.summary.head.revision + bump))
        _say_restored(restored.summary, restored.replaced)


def _say_restored(summary: Summary, replaced: Path | None) -> None:
    click.echo(f"Restored {summary.keys} objects, as they were on {summary.head.created}.")
    if replaced is not None:
        click.echo(f"What was there before is in {replaced}; remove it when nobody needs it.")


def _restore_local(file: Path, layout: Layout, *, force: bool, bump_revision: int) -> None:
    from pybernetes.cli.commands import LocalCommands
    from pybernetes.cli.console import progress
    from pybernetes.cluster import local_backup
    from pybernetes.cluster.local import LocalCluster, Wanted

    cluster = LocalCluster(layout)
    reporter = progress()
    ran = layout.exists and any(c.process is not None for c in cluster.components())
    try:
        restored = local_backup.restore(file, layout, force=force, bump_revision=bump_revision, progress=reporter)
    finally:
        # Also where the restore failed: what was stopped for it is to run again.
        if ran:
            cluster.up(Wanted(), LocalCommands(), reporter, timeout_seconds=120.0)
    _say_restored(restored.summary, restored.replaced)
    if not ran:
        option = "" if layout.name == "default" else f" --name {layout.name}"
        click.echo(f"Start it with: p8s up{option}")


# --- etcd ------------------------------------------------------------------------------------------------------------


async def _back_up_etcd(file: Path, data_dir: Path, config: EtcdConfig) -> Summary:
    from pybernetes.cluster import backup
    from pybernetes.store.etcd.store import EtcdStore
    from pybernetes.store.transfer import check_whole, read_all

    store = await EtcdStore.open(config)
    try:
        await check_whole(store)
        return await backup.back_up(file, data_dir, read_all(store))
    finally:
        await store.close()


async def _check_etcd(file: Path, config: EtcdConfig, *, force: bool, bump: int) -> None:
    """Raises `RestoreRefused` where a restore would harm, before it does anything."""
    from pybernetes.apiserver.masterleases import PREFIX
    from pybernetes.cluster.backup import RestoreRefused
    from pybernetes.store import archive, transfer
    from pybernetes.store.etcd.store import EtcdStore
    from pybernetes.store.interface import prefix_end

    summary = await asyncio.to_thread(archive.verify, file)
    store = await EtcdStore.open(config)
    try:
        live = [kv.key.removeprefix(PREFIX) for kv in (await store.range(PREFIX, prefix_end(PREFIX))).items]
        if live:
            raise RestoreRefused(
                f"servers are at work on this datastore: {', '.join(live)}",
                hint="stop them first; one that was killed counts as live until its lease runs out, after some seconds",
            )
        if not force and not await transfer.is_empty(store):
            raise RestoreRefused(
                "the datastore is not empty",
                hint="replace what it holds with --force; make a backup of it first if that is worth keeping",
            )
        revision = await store.revision()
        if summary.head.revision + bump - revision > _BUMP_BY_WRITES_MAX:
            raise RestoreRefused(
                f"this etcd is at revision {revision} and the backup at {summary.head.revision}:"
                " bringing it beyond that would take too many writes",
                hint="restore into the etcd that the backup was made of, or start this one from an etcdutl snapshot"
                " restore with --bump-revision",
            )
    finally:
        await store.close()


async def _restore_etcd(file: Path, config: EtcdConfig, above_revision: int) -> None:
    from pybernetes.apiserver.claim import KEY
    from pybernetes.store import archive, transfer
    from pybernetes.store.etcd.store import EtcdStore
    from pybernetes.store.interface import Delete, KeyValue

    store = await EtcdStore.open(config)
    try:
        keys = (r for r in archive.read(file) if isinstance(r, KeyValue))
        # Whose the datastore is, the first server will say anew: the keys may be other ones now.
        await store.txn([], [Delete(KEY)])
        await store.compact(await transfer.replace_all(store, keys, above_revision=above_revision))
    finally:
        await store.close()

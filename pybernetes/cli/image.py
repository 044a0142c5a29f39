"""``p8s image``: images into the nodes' containerd, over each node's own socket; nodes share nothing."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pybernetes.cli.options import name_option

if TYPE_CHECKING:
    from pybernetes.cluster.layout import Layout

_NODES_AT_ONCE = 8
Action = Callable[[Path], Awaitable[list[str]]]


@click.group("image")
def image_command() -> None:
    """Bring images into a cluster's nodes, and list them."""


@image_command.command("load")
@name_option
@click.option("--node", "nodes", multiple=True, help="Only into this node; may be repeated.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load(name: str, nodes: tuple[str, ...], files: tuple[Path, ...]) -> int:
    """Load images from FILES, OCI or Docker archives as `docker save` writes them, into every node."""
    from pybernetes.cli.console import progress
    from pybernetes.cluster.layout import Layout

    layout = Layout.of(name)
    targets = [layout.check_node(n) for n in nodes] or layout.read_spec().node_names
    reporter = progress()
    for file in files:
        with reporter.step(f"Loading {file.name} into {', '.join(targets)}"):
            outputs = _on_nodes(layout, targets, partial(_import, file=file))
        for image in sorted({image for found in outputs for image in found}):
            click.echo(image)
    return 0


@image_command.command("list")
@name_option
def list_(name: str) -> int:
    """List the images in a cluster's nodes."""
    from pybernetes.cli.console import table
    from pybernetes.cluster.layout import Layout

    layout = Layout.of(name)
    nodes = layout.read_spec().node_names
    where: dict[str, list[str]] = {}
    for node, images in zip(nodes, _on_nodes(layout, nodes, _images), strict=True):
        for image in images:
            where.setdefault(image, []).append(node)
    rows = [[image, ",".join(found)] for image, found in sorted(where.items())]
    click.echo(table(["IMAGE", "NODES"], rows))
    return 0


def _on_nodes(layout: Layout, nodes: Sequence[str], action: Action) -> list[list[str]]:
    """Does it on every node at once; the results in the nodes' order."""
    from pybernetes.cluster.errors import ClusterError
    from pybernetes.kubelet.containerd import ContainerdError

    async def one(node: str, turn: asyncio.Semaphore) -> list[str]:
        socket = layout.containerd_socket(node)
        if not socket.exists():
            raise ClusterError(f"containerd of {node} is not running", hint="p8s status shows what runs")
        async with turn:
            try:
                return await action(socket)
            except ContainerdError as error:
                raise ClusterError(f"{node}: {error}") from error

    async def all_() -> list[list[str]]:
        turn = asyncio.Semaphore(_NODES_AT_ONCE)
        return await asyncio.gather(*(one(node, turn) for node in nodes))

    return asyncio.run(all_())


async def _import(socket: Path, *, file: Path) -> list[str]:
    """The names of the images that the archive brought."""
    from pybernetes.kubelet.containerd import import_image

    return await import_image(socket, file.resolve(), snapshotter=_snapshotter(socket))


def _snapshotter(socket: Path) -> str:
    """The one that the node's containerd is configured with."""
    config = tomllib.loads((socket.parent / "config.toml").read_text())
    found: str = config["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["snapshotter"]
    return found


async def _images(socket: Path) -> list[str]:
    """Images by name; references by digest and the runtime's own pause image are left out."""
    from pybernetes.cluster.errors import ClusterError
    from pybernetes.kubelet.cri import CRIRuntime
    from pybernetes.kubelet.runtime import RuntimeFailure

    runtime = CRIRuntime(str(socket))
    try:
        return [tag for image in await runtime.list_images() for tag in image.tags]
    except RuntimeFailure as error:
        raise ClusterError(f"{socket}: {error}") from error
    finally:
        await runtime.close()

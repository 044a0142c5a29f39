"""``p8s image``: images into the nodes' containerd, over each node's own socket; nodes share nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pybernetes.cli.options import name_option

if TYPE_CHECKING:
    from pybernetes.cluster.layout import Layout

_NODES_AT_ONCE = 8
_IMPORT_TIMEOUT_SECONDS = 600.0


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


def _on_nodes(layout: Layout, nodes: Sequence[str], action: Callable[[Path], list[str]]) -> list[list[str]]:
    from pybernetes.cluster.errors import ClusterError, ProgramMissing

    def one(node: str) -> list[str]:
        socket = layout.containerd_socket(node)
        if not socket.exists():
            raise ClusterError(f"containerd of {node} is not running", hint="p8s status shows what runs")
        try:
            return action(socket)
        except FileNotFoundError as error:
            raise ProgramMissing(["ctr"], ["containerd"]) from error
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"containerd of {node} did not answer in {error.timeout:.0f} seconds") from error
        except subprocess.CalledProcessError as error:
            raise ClusterError(f"{node}: {error.stderr.strip() or error.stdout.strip()}") from error

    with ThreadPoolExecutor(max_workers=_NODES_AT_ONCE) as pool:
        return list(pool.map(one, nodes))


def _ctr(socket: Path, *arguments: str, timeout_seconds: float = 30.0) -> str:
    command = ["ctr", "--address", str(socket), "--namespace", "k8s.io", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout_seconds).stdout


def _import(socket: Path, file: Path) -> list[str]:
    """The names of the images that the archive brought."""
    output = _ctr(socket, "images", "import", str(file.resolve()), timeout_seconds=_IMPORT_TIMEOUT_SECONDS)
    # "unpacking NAME (sha256:...)...done"
    return [line.split()[1] for line in output.splitlines() if line.startswith("unpacking ")]


def _images(socket: Path) -> list[str]:
    """Images by name; the runtime's additional references by digest are left out."""
    names = _ctr(socket, "images", "list", "--quiet").split()
    return [n for n in names if "@sha256:" not in n and not n.startswith("sha256:")]

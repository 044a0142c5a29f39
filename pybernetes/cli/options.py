"""Options that several subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


def _complete_cluster(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from pybernetes.cluster.layout import clusters

    return [CompletionItem(layout.name) for layout in clusters() if layout.name.startswith(incomplete)]


def complete_component(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from pybernetes.cluster.errors import ClusterError
    from pybernetes.cluster.layout import Layout

    try:
        nodes = Layout.of(ctx.params.get("name") or "default").read_spec().node_names
    except ClusterError:
        return []
    return [CompletionItem(n) for n in ("server", *nodes) if n.startswith(incomplete)]


def name_option(function: F) -> F:
    return click.option(
        "--name",
        default="default",
        envvar="P8S_NAME",
        show_default=True,
        metavar="NAME",
        is_eager=True,
        shell_complete=_complete_cluster,
        help="The cluster.",
    )(function)

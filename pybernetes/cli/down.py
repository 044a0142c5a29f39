"""``p8s down``."""

from __future__ import annotations

import click

from pybernetes.cli.options import name_option


@click.command("down")
@name_option
@click.option("--all", "everything", is_flag=True, help="Every cluster on this machine.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def down_command(name: str, everything: bool, quiet: bool) -> int:
    """Remove a cluster: its processes, mounts, networks, files and kubeconfig entries. Can be repeated."""
    from pybernetes.cli.console import progress
    from pybernetes.cluster.layout import Layout, clusters
    from pybernetes.cluster.local import LocalCluster

    layouts = list(clusters()) if everything else [Layout.of(name)]
    for layout in layouts:
        try:
            there = LocalCluster(layout).down(progress(quiet=quiet))
        except KeyboardInterrupt:
            option = "" if layout.name == "default" else f" --name {layout.name}"
            click.echo(f"\ninterrupted; go on with: p8s down{option}", err=True)
            return 130
        if not quiet:
            click.echo(f'The cluster "{layout.name}" is gone.' if there else f'There is no cluster "{layout.name}".')
    return 0

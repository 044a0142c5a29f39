"""``p8s version``."""

from __future__ import annotations

import platform

import click

from pybernetes import KUBERNETES_VERSION, __version__


@click.command("version")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def version_command(output: str) -> None:
    """Print the version of Pybernetes and of the Kubernetes API it serves."""
    if output == "json":
        import json

        found = {"version": __version__, "kubernetes": KUBERNETES_VERSION, "python": platform.python_version()}
        click.echo(json.dumps(found))
        return
    click.echo(
        f"Pybernetes {__version__}, serving Kubernetes {KUBERNETES_VERSION} (Python {platform.python_version()})"
    )

"""``p8s list``, ``status``, ``logs`` and ``kubeconfig``: looking at clusters, changing nothing."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pybernetes.cli.options import complete_component, name_option

if TYPE_CHECKING:
    from pybernetes.cluster.layout import ClusterSpec, Layout
    from pybernetes.cluster.processes import ProcessId

_API_TIMEOUT_SECONDS = 5.0

_output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The form."
)


def _state(running: int, total: int) -> str:
    return "Running" if running == total else "Stopped" if running == 0 else f"Degraded ({running}/{total})"


@click.command("list")
@_output_option
def list_command(output: str) -> None:
    """List the clusters on this machine."""
    from pybernetes.cli.console import table
    from pybernetes.cluster.errors import ClusterError
    from pybernetes.cluster.layout import clusters
    from pybernetes.cluster.local import LocalCluster

    found: list[dict[str, Any]] = []
    for layout in clusters():
        try:
            spec = layout.read_spec()
        except ClusterError:
            found.append(
                {"name": layout.name, "nodes": "-", "state": "Damaged", "server": "-", "context": layout.context}
            )
            continue
        components = LocalCluster(layout).components()
        running = sum(c.process is not None for c in components)
        found.append(
            {
                "name": layout.name,
                "nodes": spec.nodes,
                "state": _state(running, len(components)),
                "server": f"https://127.0.0.1:{spec.api_port}",
                "isolated": spec.isolated,
                "context": layout.context,
            }
        )
    if output == "json":
        _print_json(found)
    elif not found:
        click.echo("There is no cluster on this machine. Start one with: p8s up")
    else:
        rows = [[str(c["name"]), str(c["nodes"]), *(str(c[k]) for k in ("state", "server", "context"))] for c in found]
        click.echo(table(["NAME", "NODES", "STATE", "SERVER", "CONTEXT"], rows))


@click.command("status")
@name_option
@_output_option
def status_command(name: str, output: str) -> int:
    """Show a cluster's components and nodes. Exits with 1 where something does not run or is not Ready."""
    from pybernetes.cluster.layout import Layout
    from pybernetes.cluster.local import LocalCluster

    layout = Layout.of(name)
    spec = layout.read_spec()
    components = LocalCluster(layout).components()
    api: str = "not running"
    nodes: dict[str, dict[str, Any]] = {}
    if components[0].process is not None:
        api, nodes = asyncio.run(_ask(layout, spec))
    rows = []
    for component in components:
        row: dict[str, Any] = {
            "component": component.name,
            "pid": component.process.pid if component.process else None,
            "running_seconds": _running_seconds(component.process),
        }
        if component.name == "server":
            row |= {"state": api, "address": f"https://127.0.0.1:{spec.api_port}", "version": ""}
        else:
            node = nodes.get(component.name)
            row |= _describe_node(node)
            if component.process is None:
                row["state"] = "not running"
        rows.append(row)
    healthy = all(r["pid"] is not None and r["state"] in ("Ready", "Serving") for r in rows)
    if output == "json":
        _print_json({"name": name, "isolated": spec.isolated, "healthy": healthy, "components": rows})
        return 0 if healthy else 1
    from pybernetes.cli.console import table

    header = ["COMPONENT", "STATE", "PID", "RUNNING", "ADDRESS", "VERSION"]
    body = [
        [
            r["component"], r["state"], str(r["pid"] or "-"), _age(r["running_seconds"]), r["address"] or "-",
            r["version"] or "-",
        ]
        for r in rows
    ]  # fmt: skip
    click.echo(table(header, body))
    click.echo(f"\ncontext {layout.context}, {'isolated' if spec.isolated else 'with uplink'}, logs in {layout.logs}")
    return 0 if healthy else 1


async def _ask(layout: Layout, spec: ClusterSpec) -> tuple[str, dict[str, dict[str, Any]]]:
    from pybernetes.api import errors
    from pybernetes.api.resources import NODES
    from pybernetes.cli.waiting import admin_client

    try:
        async with asyncio.timeout(_API_TIMEOUT_SECONDS), admin_client(layout, spec) as client:
            found = await client.list(NODES)
    except (errors.ApiError, TimeoutError):
        return "not answering", {}
    return "Serving", {n["metadata"]["name"]: n for n in found.items}


def _describe_node(node: dict[str, Any] | None) -> dict[str, str]:
    from pybernetes.cli.waiting import is_ready

    if node is None:
        return {"state": "not registered", "address": "", "version": ""}
    status = node.get("status", {})
    addresses = [a["address"] for a in status.get("addresses") or () if a.get("type") == "InternalIP"]
    version = status.get("nodeInfo", {}).get("kubeletVersion", "")
    return {"state": "Ready" if is_ready(node) else "NotReady", "address": ",".join(addresses), "version": version}


def _running_seconds(process: ProcessId | None) -> float | None:
    if process is None:
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - process.start_ticks / os.sysconf("SC_CLK_TCK"))


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2))


@click.command("logs")
@name_option
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option("-n", "--lines", type=click.IntRange(0), default=None, help="Only the last so many lines.")
@click.argument("component", default="server", shell_complete=complete_component)
def logs_command(name: str, follow: bool, lines: int | None, component: str) -> int:
    """Show the log of COMPONENT: server (the default) or a node such as node1."""
    from pybernetes.cluster.layout import Layout

    layout = Layout.of(name)
    layout.read_spec()
    if component != "server":
        layout.check_node(component)
    path = layout.log_file(component)
    if not path.exists():
        click.echo(f"{component} has not written a log yet", err=True)
        return 1
    _tail(path, lines, follow)
    return 0


def _tail(path: Path, lines: int | None, follow: bool) -> None:
    """Becomes tail(1), which waits for new lines by inotify and copes with a file of any size."""
    count = f"+{1}" if lines is None else str(lines)
    os.execvp("tail", ["tail", "-n", count, *(["-F"] if follow else []), "--", str(path)])


@click.command("kubeconfig")
@name_option
@click.option("--merge", is_flag=True, help="Merge it into KUBECONFIG or ~/.kube/config, as `p8s up` does.")
def kubeconfig_command(name: str, merge: bool) -> None:
    """Print the administrator's kubeconfig of a cluster."""
    from pybernetes.cluster.layout import Layout

    layout = Layout.of(name)
    spec = layout.read_spec()
    if not merge:
        click.echo(layout.admin_kubeconfig.read_text(), nl=False)
        return
    from pybernetes.cluster import credentials, kubeconfig
    from pybernetes.cluster.local import service_address

    access = credentials.ensure(layout, spec, service_ip=service_address(spec.service_cidr, 1))
    click.echo(f"The context {layout.context} is in {kubeconfig.merge(layout.context, access)}.")

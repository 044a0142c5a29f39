"""``p8s up``."""

from __future__ import annotations

import click

from pybernetes.cli.options import name_option


@click.command("up")
@name_option
@click.option("--nodes", type=click.IntRange(1, 200), default=None, help="How many nodes.  [default: 1]")
@click.option(
    "--isolated/--no-isolated",
    default=None,
    envvar="P8S_ISOLATED",
    help="Add nothing to the host's network: pods reach no internet.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The API server's port on 127.0.0.1.  [default: from 6443 on]"
)
@click.option(
    "--publish-node-ports/--no-publish-node-ports",
    default=None,
    help="Listen on 127.0.0.1 for each NodePort Service.  [default: publish]",
)
@click.option(
    "--wait", "wait_seconds", type=click.FloatRange(0), default=120.0, show_default=True, metavar="SECONDS",
    help="How long to wait until every node is Ready; 0 does not wait.",
)  # fmt: skip
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default=None,
    help="How much the components log, from their next start on.  [default: info]",
)
@click.option(
    "--server-option",
    "server_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of `p8s server` for security, such as audit-policy-file=/etc/audit.yaml, from its next start on; "
    "repeatable. Those that are given replace those of before.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def up_command(
    name: str,
    nodes: int | None,
    isolated: bool | None,
    port: int | None,
    publish_node_ports: bool | None,
    wait_seconds: float,
    log_level: str | None,
    server_options: tuple[str, ...],
    quiet: bool,
) -> int:
    """Start a cluster on this machine, or what is missing of it, and merge its context into the kubeconfig.

    Can be repeated: a cluster that runs stays as it is, one that was interrupted or rebooted is completed, and a
    higher --nodes adds nodes.
    """
    from pybernetes.cli.commands import LocalCommands
    from pybernetes.cli.console import progress
    from pybernetes.cluster.layout import Layout
    from pybernetes.cluster.local import LocalCluster, Wanted

    cluster = LocalCluster(Layout.of(name))
    reporter = progress(quiet=quiet)
    if server_options:
        from pybernetes.cli.server_security import check_options

        server_options = check_options(server_options)
    wanted = Wanted(nodes, isolated, port, publish_node_ports, log_level, server_options or None)
    option = "" if name == "default" else f" --name {name}"
    try:
        result = cluster.up(wanted, LocalCommands(), reporter, timeout_seconds=max(wait_seconds, 30.0))
        if wait_seconds:
            from pybernetes.cli.waiting import run_interruptible, wait_for_nodes

            count = result.spec.nodes
            with reporter.step("Waiting for the node" if count == 1 else f"Waiting for {count} nodes"):
                run_interruptible(wait_for_nodes(cluster.layout, result.spec, timeout_seconds=wait_seconds))
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; go on with: p8s up{option}, or remove it with: p8s down{option}", err=True)
        return 130
    if not quiet:
        if not result.started:
            click.echo(f'The cluster "{name}" is running.')
        else:
            click.echo(f'The cluster "{name}" is up, its context {cluster.layout.context} is in {result.kubeconfig}.')
            click.echo(f"Try: kubectl get nodes{_kubeconfig_hint()}")
    return 0


def _kubeconfig_hint() -> str:
    import shutil

    return "" if shutil.which("kubectl") else "   (kubectl is not installed: apt-get install kubernetes-client)"

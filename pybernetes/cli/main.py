"""The command's entry: subcommands by name, imported when they are called, and the one place that prints errors.

Exit codes: 0 done; 1 failed; 2 wrong use; 3 the machine lacks something; 4 the cluster is in the wrong state; 5 a wait
ended without success; 130 interrupted. Nobody sees a traceback for an error that has a type; for one that has none the
traceback goes to stderr, since then it is a bug.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

# Name -> (module, the group's help line). The help lines stand here so that `p8s --help` imports nothing.
_COMMANDS = {
    "up": ("up", "Start a cluster on this machine, or what is missing of it."),
    "down": ("down", "Remove a cluster without a trace."),
    "list": ("inspection", "List the clusters on this machine."),
    "status": ("inspection", "Show a cluster's components and nodes."),
    "logs": ("inspection", "Show the log of the server or of a node."),
    "kubeconfig": ("inspection", "Print the administrator's kubeconfig."),
    "image": ("image", "Bring images into a cluster's nodes, and list them."),
    "backup": ("backup", "Write a backup of a cluster to a file."),
    "restore": ("backup", "Bring a cluster back from a backup."),
    "server": ("server", "Run the API server, the scheduler and the controllers."),
    "agent": ("agent", "Run a node: kubelet, service proxy, DNS and containerd."),
    "version": ("version", "Print the version."),
    "completion": ("completion", "Print the shell's completion script."),
}

# The commands that run in the background and log.
_COMPONENTS = ("server", "agent")


class _Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in _COMPONENTS:
            # structlog loads rich where it finds it, for tracebacks in colour: a tenth of a component's start.
            sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
        # What modules bring is no garbage: it need not be searched for any while they load, nor ever after.
        gc.disable()
        module = importlib.import_module(f"pybernetes.cli.{_COMMANDS[cmd_name][0]}")
        gc.freeze()
        gc.enable()
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None, "max_content_width": 100},
)
@click.option("--debug", is_flag=True, envvar="P8S_DEBUG", help="Show tracebacks of errors.")
@click.pass_context
def p8s(ctx: click.Context, debug: bool) -> None:
    """Pybernetes: Kubernetes, in Python. `p8s up` starts a cluster on this machine; kubectl does the rest."""
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command and exits with its code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    try:
        result: Any = p8s.main(arguments, prog_name="p8s", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last stop of every error, typed or not
        return _report(error, arguments)
    return result if isinstance(result, int) else 0


def _report(error: Exception, arguments: list[str] | None) -> int:
    from pybernetes.api.errors import ApiError
    from pybernetes.cluster.errors import ClusterError
    from pybernetes.store.interface import StoreError

    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments) or bool(os.environ.get("P8S_DEBUG"))
    if isinstance(error, ClusterError):
        message, hint, code = str(error), error.hint, error.exit_code
    elif isinstance(error, ApiError):
        message, hint, code = f"the API server said: {error.message}", "", 1
    elif isinstance(error, StoreError):
        message, hint, code = str(error), "", 1
    elif isinstance(error, PermissionError):
        message, hint, code = str(error), "run it with sudo", 3
    elif isinstance(error, OSError):
        message, hint, code = str(error), "", 1
    else:
        message, hint, code = f"{type(error).__name__}: {error}", "this is a bug in p8s; please report it", 1
        debug = True
    if debug:
        import traceback

        traceback.print_exception(error)
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    return code


if __name__ == "__main__":
    main()

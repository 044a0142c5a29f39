"""``p8s completion``."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    bash: add to ~/.bashrc: source <(p8s completion bash)

    zsh: add to ~/.zshrc: source <(p8s completion zsh)

    fish: p8s completion fish > ~/.config/fish/completions/p8s.fish
    """
    from click.shell_completion import get_completion_class

    generator = get_completion_class(shell)
    assert generator is not None
    click.echo(generator(ctx.find_root().command, {}, "p8s", "_P8S_COMPLETE").source())

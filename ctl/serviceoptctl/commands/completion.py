"""The command `serviceoptctl completion`: a shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from serviceopt_journal.errors import NotFound

PROGRAM = "serviceoptctl"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  serviceoptctl completion bash > ~/.local/share/bash-completion/completions/serviceoptctl
    zsh:   serviceoptctl completion zsh > "${fpath[1]}/_serviceoptctl"
    fish:  serviceoptctl completion fish > ~/.config/fish/completions/serviceoptctl.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise NotFound(f"no completion for {shell}")
    # The base class's method: bash's own starts a bash to ask for its version.
    click.echo(ShellComplete.source(kind(ctx.find_root().command, {}, PROGRAM, "_SERVICEOPTCTL_COMPLETE")))

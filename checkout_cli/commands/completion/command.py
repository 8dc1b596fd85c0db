"""``checkoutctl completion``."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from checkout_cli.arguments import options

app = typer.Typer(help="Completions for bash, zsh and fish.", rich_markup_mode=None, no_args_is_help=True)

ShellName = Literal["bash", "zsh", "fish"]


@app.command()
def show(
    typer_context: typer.Context,
    shell: Annotated[ShellName, typer.Argument(help="For which shell.", show_default=False)],
) -> None:
    """Write a shell's file to stdout."""
    from checkout_cli.terminal.output import write

    write(_script(shell, typer_context))


@app.command()
def install(
    typer_context: typer.Context,
    shell: Annotated[ShellName | None, typer.Option("--shell", help="Default: the one of $SHELL.")] = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
) -> None:
    """Put a shell's file where that shell looks for it, below your home directory."""
    from checkout_cli.commands.completion.files import install as put
    from checkout_cli.commands.completion.files import installation, usual_shell
    from checkout_cli.terminal.output import narrate
    from checkout_cli.terminal.prompt import confirm

    chosen = shell or usual_shell(os.environ)
    wanted = installation(chosen, _script(chosen, typer_context), os.environ)
    if wanted.current:
        narrate(f"{wanted.path} is there and current")
    elif confirm(
        [f"would write {wanted.path}"] if dry_run else (),
        f"Write {wanted.path}?",
        yes=yes,
        dry_run=dry_run,
        default=True,
    ):
        put(wanted)
        narrate(f"written: {wanted.path}; it holds in the next shell")
    if wanted.hint:
        narrate(f"next: {wanted.hint}")


def _script(shell: ShellName, typer_context: typer.Context) -> str:
    from checkout_cli.commands.completion import bash, fish, zsh
    from checkout_cli.commands.completion.words import places

    write_for = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}
    return write_for[shell](places(typer_context.find_root().command))

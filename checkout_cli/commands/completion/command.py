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
    as_json: options.Json = False,
) -> None:
    """Put a shell's file where that shell looks for it, below your home directory."""
    from checkout_cli.commands.completion.files import install as put
    from checkout_cli.commands.completion.files import installation, usual_shell
    from checkout_cli.terminal.output import narrate, write_json
    from checkout_cli.terminal.prompt import confirm

    chosen = shell or usual_shell(os.environ)
    wanted = installation(chosen, _script(chosen, typer_context), os.environ)
    preview = [f"would write {wanted.path}"] if dry_run else []
    written = False
    if wanted.current:
        narrate(f"{wanted.path} is there and current")
    elif confirm(preview, f"Write {wanted.path}?", yes=yes, dry_run=dry_run, default=True):
        put(wanted)
        written = True
        narrate(f"written: {wanted.path}; it holds in the next shell")
    if as_json:
        write_json(wanted, written=written)
    if wanted.hint:
        narrate(f"next: {wanted.hint}")


def _script(shell: ShellName, typer_context: typer.Context) -> str:
    from checkout_cli.commands.completion.scripts import script
    from checkout_cli.commands.completion.words import places

    return script(shell, list(places(typer_context.find_root().command)))

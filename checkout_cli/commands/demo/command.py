"""``checkoutctl demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="No pauses.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers up at the end, until Ctrl-C.")] = False,
    as_json: options.Json = False,
) -> Report:
    """See it all work, without a Redis: on a real server of its own, which is killed on the way.

    Starts a Valkey server on a free port with a database in a temporary directory, fills in sessions, runs the real
    commands, kills the server, and counts what that has cost. Leaves no process and no file behind. --json runs the
    same without pauses or the commands' output, and answers with that count.
    """
    from checkout_cli.commands.demo.demo import Demonstration
    from checkout_cli.commands.demo.view import cursor_restored, show_event, show_result

    show = show_result if as_json else show_event
    with Demonstration(fast=fast or as_json, keep=keep, quiet=as_json) as demonstration, cursor_restored():
        for event in demonstration.events():
            show(event)
    return demonstration

"""``checkoutctl top``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current
from checkout_cli.arguments.options import Finite


def top(
    interval: Annotated[
        float,
        typer.Option("--interval", "-i", click_type=Finite(0.5, 3600), help="Seconds from one look to the next."),
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame; the exit code is that of health.")] = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report | None:
    """Watch tiers, sessions, sales, memory, caches, hand-overs and slow commands on one screen, until q.

    It goes on while Redis or the database go away and come back. Keys: q or Esc leaves, space pauses, r looks now, h
    helps. --json is one look, as with --once. Without a terminal there is no live view: exit code 2.
    """
    from checkout_cli.commands.health.health import HealthCheck
    from checkout_cli.commands.top.top import Top

    with current().store(timeout) as store:
        looking = Top(store, HealthCheck(lambda: store.settings).look)
        if once or as_json:
            from checkout_cli.commands.top.view import show_top

            look = looking.look()
            show_top(look, as_json=as_json)
            return look.snapshot.health
        from checkout_cli.commands.top.screen_view import needs_terminal, run
        from checkout_cli.terminal.log import logs_to_terminal

        needs_terminal(logs_to_terminal=logs_to_terminal(store.settings))
        run(looking.look, interval)
    return None

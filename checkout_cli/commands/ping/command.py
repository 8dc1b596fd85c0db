"""``checkoutctl ping``."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current
from checkout_cli.arguments.options import Finite


def ping(
    count: Annotated[int, typer.Option("--count", "-c", min=0, help="How often; 0: until Ctrl-C.")] = 4,
    interval: Annotated[
        float, typer.Option("--interval", "-i", click_type=Finite(0, 86_400), help="Seconds from one to the next.")
    ] = 1.0,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Ping Redis, time each answer, and if there is none say which stage failed and what to do.

    The stages are DNS, TCP, TLS, authentication and command. Up to the first answer they share one time-out.
    """
    from checkout_cli.commands.ping.ping import Ping
    from checkout_cli.commands.ping.view import show_event, show_summary

    pinging = Ping(current().settings(timeout), count=count, interval=interval)
    with suppress(KeyboardInterrupt):
        for event in pinging.events():
            if not as_json:
                show_event(event)
    show_summary(pinging.summary, as_json=as_json)
    return pinging.summary

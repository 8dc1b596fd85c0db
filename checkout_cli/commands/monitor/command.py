"""``checkoutctl monitor``."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current
from checkout_cli.arguments.options import Finite


def monitor(
    seconds: Annotated[float, typer.Option(click_type=Finite(0.1, 300), help="For how long to watch.")] = 10.0,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many commands.")] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Only commands on keys of this family, such as sessions; repeatable.")
    ] = None,
    command: Annotated[list[str] | None, typer.Option(help="Only this command, such as KEYS; repeatable.")] = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Watch what Redis does at this moment (MONITOR), for a short while: commands, never their values.

    Keys are shortened. A terminal gets a table of rates, a pipe a line for each command, --json a document for each and
    the summary last. What scripts do inside is left out. It slows the server down while it runs, ends by itself, and
    stops early where the server is faster than it can read.
    """
    from checkout_cli.clock import Clock
    from checkout_cli.commands.monitor.monitor import Monitor
    from checkout_cli.commands.monitor.view import show_monitor, show_summary, warn_of_cost
    from checkout_cli.files.own_traces import note_monitor

    settings = current().settings(timeout)
    watching = Monitor(
        settings,
        seconds=seconds,
        count=count,
        families=family or (),
        commands=command or (),
        began=lambda place: note_monitor(place, Clock().wall()),
    )
    warn_of_cost(seconds)
    with suppress(KeyboardInterrupt):
        show_monitor(watching.events(), watching.summary, as_json=as_json)
    summary = watching.summary()
    show_summary(summary, as_json=as_json)
    return summary

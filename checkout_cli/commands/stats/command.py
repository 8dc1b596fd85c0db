"""``checkoutctl stats``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import current
from checkout_cli.arguments.options import duration


def stats(
    since: Annotated[
        str, typer.Option(metavar="DURATION", help="How far to look back, 1m to 60m, in whole minutes.")
    ] = "15m",
    by: Annotated[
        Literal["minute", "status"] | None,
        typer.Option(help="A line for each minute; or sessions created since then, by how their payment stands now."),
    ] = None,
    watch: options.Watch = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Show what became of checkouts in the last minutes: created, completed, failed, how long calls took, cache hits.

    Redis counts them. While it is away the database is asked, which does not know everything; --by status always asks
    the database. The answer says which of them knew. Exit code 69: neither can be reached.
    """
    from checkout_cli.commands.stats.stats import StatisticsWatch
    from checkout_cli.commands.stats.view import show_look, show_watch

    with current().store(timeout) as store:
        statistics = StatisticsWatch(store, duration(since), by_status=by == "status")
        if watch is None:
            show_look(statistics.look(), by_minute=by == "minute", as_json=as_json)
            return
        show_watch(statistics.watch(watch), by_minute=by == "minute", as_json=as_json)

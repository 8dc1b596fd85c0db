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
    from checkout_cli.commands.stats import stats as operations
    from checkout_cli.commands.stats import view

    seconds, by_minute, by_status = duration(since), by == "minute", by == "status"
    with current().store(timeout) as store:
        if watch is None:
            look = operations.look_back(store, seconds, by_status=by_status)
            view.show_look(look, by_minute=by_minute, as_json=as_json)
        else:
            looks = operations.watch(store, seconds, watch, by_status=by_status)
            view.show_watch(looks, by_minute=by_minute, as_json=as_json)

"""``checkoutctl cache``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.cli.context import DEFAULT_TIMEOUT, JsonOption, TimeoutOption, context_of
from checkout_cli.cli.durations import duration

app = typer.Typer(help="See how well the caches work.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """See how well the caches of delivery charges and coupons work."""


@app.command()
def stats(
    typer_context: typer.Context,
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far to look back, 60m at most.")] = "15m",
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Show how often each cache was hit, missed, stale or unreachable of late.

    Programs add their counts about once a second; a cache that nobody asked has no rate.

    Example: checkoutctl cache stats --since 5m
    """
    from checkout_cli.operations.cache_statistics import cache_statistics
    from checkout_cli.render.cache_statistics_view import show_statistics

    with context_of(typer_context).store(timeout) as store:
        found = cache_statistics(store, duration(since))
    show_statistics(found, as_json=as_json)

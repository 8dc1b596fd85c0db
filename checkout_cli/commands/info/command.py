"""``checkoutctl info``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments.context import DEFAULT_TIMEOUT, JsonOption, TimeoutOption, context_of, number_of_seconds


def info(
    typer_context: typer.Context,
    sections: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION]...", help="Such as memory or stats; all for everything.")
    ] = None,
    diff: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            max=86_400,
            callback=number_of_seconds,
            help="Look twice, so far apart, and show what changed.",
        ),
    ] = None,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Show what Redis says of itself (INFO), with what the fields that matter mean.

    Without a section: all but those that have a line for each command (commandstats, latencystats, errorstats).
    """
    from checkout_cli.commands.info.info import info_diff, server_info
    from checkout_cli.commands.info.view import show_diff, show_info

    with context_of(typer_context).redis(timeout) as redis:
        if diff is None:
            show_info(server_info(redis, sections or ()), as_json=as_json)
        else:
            show_diff(info_diff(redis, diff, sections or ()), as_json=as_json)

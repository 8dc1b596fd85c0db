"""``checkoutctl info``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current
from checkout_cli.arguments.options import Finite


def info(
    sections: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION]...", help="Such as memory or stats; all for everything.")
    ] = None,
    diff: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", click_type=Finite(0.1, 86_400), help="Look twice, so far apart, and show what changed."
        ),
    ] = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report | None:
    """Show what Redis says of itself (INFO), with what the fields that matter mean.

    Without a section: all but those that have a line for each command (commandstats, latencystats, errorstats).
    """
    from checkout_cli.commands.info.info import info_diff, server_info
    from checkout_cli.commands.info.view import show_diff, show_info

    with current().redis(timeout) as redis:
        if diff is not None:
            show_diff(info_diff(redis, diff, sections or ()), as_json=as_json)
            return None
        report = server_info(redis, sections or ())
    show_info(report, as_json=as_json)
    return report

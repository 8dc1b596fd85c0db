"""``checkoutctl latency``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current


def latency(
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, max=100_000, help="How many round trips.")] = 100,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Measure round trips to Redis, and show the pauses and command times that it has measured itself.

    Round trips are PINGs over one connection, as this program sees them. Pauses (LATENCY) are known only where the
    server's latency-monitor-threshold is set; percentiles of commands from Redis 7 on.
    """
    from checkout_cli.commands.latency.latency import measure_latency
    from checkout_cli.commands.latency.view import show_latency

    with current().redis(timeout) as redis:
        report = measure_latency(redis, samples)
    show_latency(report, as_json=as_json)
    return report

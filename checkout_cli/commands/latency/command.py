"""``checkoutctl latency``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments.context import DEFAULT_TIMEOUT, JsonOption, TimeoutOption, context_of


def latency(
    typer_context: typer.Context,
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, max=100_000, help="How many round trips.")] = 100,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Measure round trips to Redis, and show the pauses and command times that it has measured itself.

    Round trips are PINGs over one connection, as this program sees them. Pauses (LATENCY) are known only where the
    server's latency-monitor-threshold is set; percentiles of commands from Redis 7 on.
    """
    from checkout_cli.commands.latency.latency import measure_latency
    from checkout_cli.commands.latency.view import show_latency

    with context_of(typer_context).redis(timeout) as redis:
        report = measure_latency(redis, samples)
    show_latency(report, as_json=as_json)

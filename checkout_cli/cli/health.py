"""``checkoutctl health``."""

from __future__ import annotations

import typer

from checkout_cli.cli.context import DEFAULT_TIMEOUT, JsonOption, TimeoutOption, WatchOption, context_of


def health(
    typer_context: typer.Context,
    watch: WatchOption = None,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Say whether Redis, the database and memory are there for the sessions: healthy, degraded or unhealthy.

    Exit code 0: healthy. 1: degraded, a tier is away and the store still serves. 69: unhealthy, no durable tier is
    left. 78: the configuration is wrong.

    Example: checkoutctl health --json
    """
    from checkout_cli.errors import ExitCode
    from checkout_cli.operations.health import HealthCheck
    from checkout_cli.render.health_view import show_health, show_watch

    context = context_of(typer_context)
    check = HealthCheck(lambda: context.settings(timeout))
    try:
        if watch is None:
            report = check.look()
            show_health(report, as_json=as_json)
        else:
            report = show_watch(check.watch(watch), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    raise typer.Exit(report.exit_code)

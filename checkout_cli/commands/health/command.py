"""``checkoutctl health``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current


def health(
    watch: options.Watch = None,
    as_json: options.Json = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="Answer as a monitoring plugin does, with its exit codes.")
    ] = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report | int:
    """Say whether Redis, the database and memory are there for the sessions: healthy, degraded or unhealthy.

    Exit code 0: healthy. 1: degraded, a tier is away and the store still serves. 69: unhealthy, no durable tier is
    left. 78: the configuration is wrong. With --nagios: 0 OK, 1 WARNING (degraded), 2 CRITICAL, 3 UNKNOWN, also for a
    wrong command line or configuration.
    """
    from checkout_cli.commands.health.health import HealthCheck
    from checkout_cli.commands.health.nagios_view import show_nagios
    from checkout_cli.commands.health.view import show_health, show_watch
    from checkout_cli.errors import InvalidInput
    from checkout_cli.files.answered import AnswersFile

    context = current()
    check = HealthCheck(lambda: context.settings(timeout), answers=AnswersFile())
    if nagios:
        if as_json or watch is not None:
            raise InvalidInput("--nagios answers in one line, once", hint="leave out --json and --watch")
        return show_nagios(check.look())
    if watch is not None:
        return show_watch(check.watch(watch), as_json=as_json)
    report = check.look()
    show_health(report, as_json=as_json)
    return report

"""``checkoutctl serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import current


def serve(
    host: Annotated[str, typer.Option("--host", help="The address to listen at; any but loopback needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port.")] = 8642,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Another name by which clients call it; repeatable.")
    ] = None,
    print_rules: Annotated[
        bool, typer.Option("--print-rules", help="Write alert rules for Prometheus to stdout, and serve nothing.")
    ] = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Answer health checks and management requests over HTTP.

    GET /api/redis/health, /ready, /live and /metrics; POST /api/redis/cleanup, which needs the bearer token of
    CHECKOUT_SERVE_TOKEN or CHECKOUT_SERVE_TOKEN_FILE. SIGTERM ends it when the requests under way are answered.

    /ready answers 200 while sessions are served, by the database alone too. For monitors that expect 503 while Redis is
    unavailable: /ready?strict=1, or /api/redis/health?strict=1.
    """
    from checkout_cli.commands.serve.serving import alert_rules, needs_extra, plan
    from checkout_cli.terminal.output import narrate, warn, write

    if print_rules:
        write(alert_rules())
        return
    needs_extra()
    from checkout_cli.commands.config.check import exposed_secrets
    from checkout_cli.commands.serve.app import run

    settings = current().settings(timeout)
    for problem, fix in exposed_secrets(settings):
        warn(f"{problem}; {fix}")
    run(plan(settings, host, port, allow_host or ()), narrate)

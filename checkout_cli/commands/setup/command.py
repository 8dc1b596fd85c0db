"""``checkoutctl setup``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current


def setup(
    check: Annotated[bool, typer.Option("--check", help="Only look; change nothing.")] = False,
    redis_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where Redis is: redis://host:port/db, rediss:// with TLS, unix:///path."),
    ] = None,
    explain: options.Explain = None,
    yes: options.Yes = False,
    timeout: options.Timeout = options.TIMEOUT,
    as_json: options.Json = False,
) -> Report | int:
    """Set everything up, and prove that it works.

    Looks at what is installed, writes what is missing in .env.local (showing it first), creates the database's tables,
    and sends a probe session through Redis, the database and memory. Where nothing says where Redis is, a person is
    asked, and off a terminal localhost:6379 is assumed. Every check that fails says what to type. Exit code 1 where
    one has failed, 4 where a server is there and denies access. Running it again changes nothing.
    """
    from checkout_cli.commands.setup import setup as operation
    from checkout_cli.commands.setup import where
    from checkout_cli.commands.setup.view import show_report
    from checkout_cli.terminal.checks import show_explanations
    from checkout_cli.terminal.output import narrate
    from checkout_cli.terminal.prompt import ask, can_ask, confirm

    if explain is not None:
        show_explanations(operation.CHECKS.explained(explain), as_json=as_json)
        return 0
    context = current()
    if redis_url is not None:
        context.flags["redis_url"] = where.flagged_url(redis_url)
    elif can_ask() and not (check or yes or as_json) and where.is_redis_unknown(context.resolved()):
        context.flags["redis_url"] = ask("Where is Redis?", where.USUAL, where.answered_url) or None
    context.are_defaults_noted = True  # here, they are among what is assumed
    assumed = tuple(where.assumptions(context.resolved()))
    sources = operation.Sources(context.directory, context.flags, load=lambda: context.settings(timeout))
    plan = sources.plan()
    if url := context.flags.get("redis_url"):
        where.insist_on_writing(plan, url)
    for line in assumed:
        narrate(f"assumed: {line}")
    for line in plan.difference():
        narrate(line)
    if not check:
        there = can_ask() and not plan.changes  # where nothing is to be written, being there is enough
        hint = "checkoutctl setup --yes, or checkoutctl setup --check to look only"
        confirm((), f"Write {plan.path}?", yes=yes or there, default=True, hint=hint)
    report = operation.run(plan, sources, looked_only=check)
    show_report(report, plan, assumed, as_json=as_json)
    return report

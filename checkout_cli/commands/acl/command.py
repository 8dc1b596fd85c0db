"""``checkoutctl acl``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current

app = typer.Typer(rich_markup_mode=None)

UserOption = Annotated[str | None, typer.Option("--user", metavar="NAME", help="The user's name.  [checkout-ROLE]")]


@app.callback(invoke_without_command=True)
def acl(typer_context: typer.Context, as_json: options.Json = False) -> None:
    """Show the three roles for users of Redis, and what each may do.

    Each role's command shows the least ACL rule for it; check tells what the user in use may do. The rules follow from
    what the commands need. In none of them are KEYS, FLUSHALL, CONFIG SET, DEBUG or the keys of other programs.
    """
    from checkout_cli.commands.acl.view import show_roles

    if typer_context.invoked_subcommand is None:
        show_roles(as_json=as_json)


def _enter(role: str, whom: str) -> None:
    """Enter the command that shows one role's rule."""

    def show(user: UserOption = None, as_json: options.Json = False) -> None:
        from checkout_cli.commands.acl.roles import RoleName, rule_of
        from checkout_cli.commands.acl.view import show_rule

        show_rule(rule_of(RoleName(role), current().settings(), user), as_json=as_json)

    fits = "The rule fits REDIS_MODE and REDIS_DB. Redis is not asked, and the password is yours to choose."
    app.command(role, help=f"Show the least ACL rule for {whom}.\n\n{fits}")(show)


_enter("reader", "who only looks")
_enter("operator", "the engineer on call, and for cron")
_enter("application", "the shop itself, which uses the library")


@app.command()
def check(
    role: Annotated[
        Literal["reader", "operator", "application"], typer.Option("--role", help="Whose commands to check.")
    ] = "operator",
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Say which commands of checkoutctl work for the user in use, and which grants are missing.

    Each call is queued in a transaction that is dropped: the server refuses what is denied, and runs nothing. Exit
    code 0: the role is complete. 1: a grant is missing, or cannot be told.
    """
    from checkout_cli.commands.acl.check import check_access
    from checkout_cli.commands.acl.roles import RoleName
    from checkout_cli.commands.acl.view import show_check

    context = current()
    with context.redis(timeout) as redis:
        found = check_access(redis, context.settings(timeout), RoleName(role))
    show_check(found, as_json=as_json)
    return found

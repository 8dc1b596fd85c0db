"""``checkoutctl users``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, audit, bounded, current

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    limit: options.ScanLimit = 50,
    cursor: options.ListCursor = "0",
    output: options.Output = None,
    as_json: options.Json = False,
    reveal: options.Reveal = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """List users who have checked out of late, in no order: their checkouts, the last status, when they were seen.

    Ids are shown shortened unless --reveal. One call looks at about 100,000 keys at most. Where there may be more, it
    says at which --cursor to go on. Only Redis knows users.
    """
    from checkout_cli.commands.users.users import list_users
    from checkout_cli.commands.users.view import show_list

    shape = options.shape_of(output, as_json=as_json)
    with current().store(timeout) as store, bounded("Listing", quiet=shape != "table") as run:
        users = list_users(store, run, limit=limit, cursor=cursor)
    if reveal:
        audit("users list", f"{len(users.found)} users")
    show_list(users, shape, reveal=reveal)
    return users


@app.command()
def show(
    user: Annotated[str, typer.Argument(metavar="USER", help="The id, or its beginning.", show_default=False)],
    reveal: options.Reveal = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Show what is tracked of a user: checkouts started, completed and failed, the last status, when seen.

    The beginning of an id is enough where no other user has it. Exit code 3 where nothing is tracked, and 1 where
    another program keeps something else there.
    """
    from checkout_cli.commands.users import users, view

    with current().store(timeout) as store:
        found = users.show_user(store, user)
    if reveal:
        audit("users show", "one user")
    view.show_user(found, as_json=as_json, reveal=reveal)
    return found

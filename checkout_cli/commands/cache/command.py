"""``checkoutctl cache``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, audit, bounded, current
from checkout_cli.arguments.options import duration

app = typer.Typer(
    help="Look at, correct and invalidate what is cached: delivery charges and coupons.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
delivery = typer.Typer(help="Delivery charges, by distance and order value.", no_args_is_help=True)
coupon = typer.Typer(help="Answers about coupons, by code.", no_args_is_help=True)
app.add_typer(delivery, name="delivery")
app.add_typer(coupon, name="coupon")

DistanceArgument = Annotated[str, typer.Argument(metavar="DISTANCE", help="In kilometres.", show_default=False)]
ValueArgument = Annotated[str, typer.Argument(metavar="VALUE", help="The order's value.", show_default=False)]
CodeArgument = Annotated[str, typer.Argument(metavar="CODE", help="The coupon; case does not matter.")]


@delivery.command("get")
def delivery_get(
    distance: DistanceArgument,
    value: ValueArgument,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Show a cached delivery charge: its age, its time to live, and whether it would be served now.

    Exit code 3 where there is none, and 1 where there is one that would not be served.
    """
    from checkout_cli.commands.cache import entries, view

    with current().store(timeout) as store:
        found = entries.look_at_delivery(store, distance, value)
    view.show_entry(found, as_json=as_json)
    return found


@coupon.command("get")
def coupon_get(
    code: CodeArgument,
    reveal: options.Reveal = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Show the cached answers about a coupon: one for each context that it was asked in, the newest first.

    For each its age, its time to live, and whether it would be served now. What an answer says of the shopper is masked
    unless --reveal. Exit code 3 where there is none, and 1 where none would be served.
    """
    from checkout_cli.commands.cache import entries, view

    with current().store(timeout) as store:
        found = entries.look_at_coupon(store, code)
    if reveal:
        audit("cache coupon get", "the answers about one coupon")
    view.show_entry(found, as_json=as_json, reveal=reveal)
    return found


@delivery.command("set")
def delivery_set(
    distance: DistanceArgument,
    value: ValueArgument,
    charge: Annotated[str, typer.Argument(metavar="CHARGE", help="The charge as JSON; - for stdin.")],
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Put a delivery charge into the cache, which shoppers then see until it expires or is invalidated.

    Shows what it replaces and asks; without a terminal it needs --yes.
    """
    from checkout_cli.commands.cache import entries, view
    from checkout_cli.terminal.prompt import confirm

    document = _document(charge)
    with current().store(timeout) as store:
        replaced = entries.replace_delivery(
            store,
            distance,
            value,
            document,
            agreed=lambda it: confirm(
                view.describe_replacement(it), "Put it into the cache?", yes=yes, dry_run=dry_run
            ),
        )
    view.show_replacement(replaced, as_json=as_json)


@coupon.command("set")
def coupon_set(
    code: CodeArgument,
    answer: Annotated[str, typer.Argument(metavar="ANSWER", help="The answer as JSON; - for stdin.")],
    asked: Annotated[
        str, typer.Option("--context", metavar="JSON", help="What the shop asks with; the answer is for that alone.")
    ] = "{}",
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    reveal: options.Reveal = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Put an answer about a coupon into the cache, which shoppers then see until it expires or is invalidated.

    It needs a boolean "valid", and is served to who asks with this very context only. Shows what it replaces and asks;
    without a terminal it needs --yes.
    """
    from checkout_cli.commands.cache import entries, view
    from checkout_cli.terminal.prompt import confirm

    document, context = _document(answer), asked.encode("utf-8", "surrogateescape")
    with current().store(timeout) as store:
        if reveal:
            audit("cache coupon set", "an answer about one coupon")
        replaced = entries.replace_coupon(
            store,
            code,
            context,
            document,
            agreed=lambda it: confirm(
                view.describe_replacement(it, reveal=reveal), "Put it into the cache?", yes=yes, dry_run=dry_run
            ),
        )
    view.show_replacement(replaced, as_json=as_json, reveal=reveal)


def _document(argument: str) -> bytes:
    """The argument, or for ``-`` all of stdin."""
    from checkout_cli.commands.cache import entries
    from checkout_cli.terminal.output import is_terminal, narrate

    if argument != "-":
        return argument.encode("utf-8", "surrogateescape")
    if is_terminal(sys.stdin):
        narrate("reading JSON from the terminal; end it with Ctrl-D")
    return entries.read_document(sys.stdin.buffer)


@delivery.command("list")
def delivery_list(
    limit: options.ScanLimit = 50,
    cursor: options.ListCursor = "0",
    output: options.Output = None,
    as_json: options.Json = False,
    reveal: options.Reveal = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """List cached delivery charges, in no order, and say which would not be served.

    One call looks at 100,000 keys at most. Where there may be more, it says at which --cursor to go on.
    """
    from checkout_cli.commands.cache import entries, view

    shape = options.shape_of(output, as_json=as_json)
    with current().store(timeout) as store, bounded("Listing", quiet=shape != "table") as run:
        found = entries.list_entries(store, "delivery", run, limit=limit, cursor=cursor)
    if reveal:
        audit("cache delivery list", f"the keys of {len(found.found)} delivery charges")
    view.show_listing(found, shape, reveal=reveal)
    return found


@coupon.command("list")
def coupon_list(
    limit: options.ScanLimit = 50,
    cursor: options.ListCursor = "0",
    output: options.Output = None,
    as_json: options.Json = False,
    reveal: options.Reveal = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """List coupons with cached answers, in no order, and say which would not be served.

    One call looks at 100,000 keys at most. Where there may be more, it says at which --cursor to go on.
    """
    from checkout_cli.commands.cache import entries, view

    shape = options.shape_of(output, as_json=as_json)
    with current().store(timeout) as store, bounded("Listing", quiet=shape != "table") as run:
        found = entries.list_entries(store, "coupon", run, limit=limit, cursor=cursor)
    if reveal:
        audit("cache coupon list", f"answers about {len(found.found)} coupons")
    view.show_listing(found, shape, reveal=reveal)
    return found


@delivery.command("invalidate")
def delivery_invalidate(
    distance_from: Annotated[
        str | None, typer.Option(metavar="KM", help="Only from this distance on, which is included.")
    ] = None,
    distance_to: Annotated[
        str | None, typer.Option(metavar="KM", help="Only up to this distance, which is included.")
    ] = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Invalidate delivery charges for every program at once: all of them, or those of a range of distances.

    What is being computed at this moment is never served either. Shows how many it affects and asks; without a
    terminal it needs --yes.
    """
    from checkout_cli.commands.cache import entries, view
    from checkout_cli.terminal.prompt import confirm

    with current().store(timeout) as store:
        invalidated = entries.invalidate_delivery(
            store,
            distance_from,
            distance_to,
            agreed=lambda it: confirm(view.describe_invalidation(it), "Invalidate?", yes=yes, dry_run=dry_run),
        )
    view.show_invalidation(invalidated, as_json=as_json)


@coupon.command("invalidate")
def coupon_invalidate(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="The coupon; all of them where none is given.")
    ] = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Invalidate the answers about a coupon for every program at once, or those about all coupons.

    What is being computed at this moment is never served either. Shows how many it affects and asks; without a
    terminal it needs --yes.
    """
    from checkout_cli.commands.cache import entries, view
    from checkout_cli.terminal.prompt import confirm

    with current().store(timeout) as store:
        invalidated = entries.invalidate_coupons(
            store,
            code,
            agreed=lambda it: confirm(view.describe_invalidation(it), "Invalidate?", yes=yes, dry_run=dry_run),
        )
    view.show_invalidation(invalidated, as_json=as_json)


@app.command()
def stats(
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far to look back, 60m at most.")] = "15m",
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Show how often each cache was hit, missed, stale or unreachable of late.

    Programs add their counts about once a second; a cache that nobody asked has no rate.
    """
    from checkout_cli.commands.cache.entries import cache_statistics
    from checkout_cli.commands.cache.view import show_statistics

    with current().store(timeout) as store:
        found = cache_statistics(store, duration(since))
    show_statistics(found, as_json=as_json)
    return found

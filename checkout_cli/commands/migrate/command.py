"""``checkoutctl migrate``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, bounded, current, only_with

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

RateOption = Annotated[int, typer.Option("--rate", min=1, max=100_000, help="At most so many sessions a second.")]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="URL", help="To another Redis: redis://user@host:6379/0. Its password: REDIS_TO_PASSWORD."
    ),
]
ModeOption = Annotated[Literal["standalone", "cluster"], typer.Option("--to-mode", help="What the other Redis is.")]
PlaceOption = Annotated[
    str, typer.Option("--cursor", help="Go on where another run stopped; it says where.", show_default=False)
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all went well.")]


@app.callback()
def migrate() -> None:
    """Bring the database's sessions to Redis without downtime.

    New sessions go to Redis by themselves, and the database serves the others until they expire. This brings those
    over that still live, one version each, while the shop goes on.

    Moving over, step by step, beside an older program on the same Redis: it may read and write the same sessions all
    the way, for weeks. Each step names the command that proves it, and how to go back.

    1. Look. Nothing is changed: no key, no table.
    Proof: checkoutctl doctor. Back: nothing to do.

    2. Set up: checkoutctl setup makes tables that no other program has (checkoutctl_...; in a schema of their own with
    CHECKOUT_DATABASE_SCHEMA), and touches no key of the older program.
    Proof: checkoutctl setup --check. Back: drop these tables.

    3. Let one process of the shop use the store, with CHECKOUT_DURABILITY=database. Both programs see each other's
    sessions; the SET at checkout:index stays the older program's, and is kept for it.
    Proof: checkoutctl health; checkoutctl sessions why ID. Back: see below.

    4. Sync from cron: checkoutctl cron install. It takes in what the older program has written, so that no write waits
    for a shopper to come back.
    Proof: checkoutctl sync exits with 0, and checkoutctl sync --conflicts shows no conflict.

    5. Move the other processes over, one after the other.
    Proof: checkoutctl doctor --only external-writers says that none has written for a day.

    6. Take the index over: checkoutctl sessions index adopt. An older program cannot enter sessions there any more.
    Proof: checkoutctl sessions index check. Back: start the older program; the store makes room for it again.

    7. Bring what only the database has: migrate plan, run, verify.

    Not beside an older program: CHECKOUT_DURABILITY=redis (it can overwrite what only Redis has), a second Redis for
    some of the processes, and DEL of sessions by hand.

    Back, from any step: stop the processes that use the store; run checkoutctl sync until it exits with 0, then
    checkoutctl migrate run. Every session is in Redis then, as JSON that the older program reads and writes.
    """


@app.command()
def plan(
    rate: RateOption = 2000,
    cursor: PlaceOption = "",
    max_seconds: options.Rest = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Count what a migration would move, and say whether Redis has room for it.

    Nothing is changed. Exit code 1: it will not fit.
    """
    from checkout_cli.commands.migrate.plan import plan as look
    from checkout_cli.commands.migrate.view import show_plan

    context = current()
    with context.store(timeout) as store, bounded("Looking", max_seconds, quiet=as_json) as run:
        found = look(store, run, rate=rate, cursor=cursor)
    show_plan(found, as_json=as_json)
    return found


@app.command()
def run(
    typer_context: typer.Context,
    rate: RateOption = 2000,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the checkpoint and begin again.")] = False,
    max_seconds: options.MaxSeconds = None,
    to: ToOption = None,
    to_mode: ModeOption = "standalone",
    quiet: QuietOption = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Publish every living session of the database that Redis lacks; or copy Redis to another one (--to).

    A newer version is never overwritten, and each session keeps the time that it has left. After a kill at any point
    the same command goes on. --to copies sessions, tracked users and statistics, and no caches. Exit code 1: something
    was left, as the answer says. 69: a tier went away. 75: another process migrates now.
    """
    from checkout_cli.commands.migrate.checkpoint import CheckpointFile
    from checkout_cli.commands.migrate.copy import move_to, target_at
    from checkout_cli.commands.migrate.run import migrate as move
    from checkout_cli.commands.migrate.view import show_run

    only_with(typer_context, "to_mode", what="--to", given=to is not None)
    context, file, silent = current(), CheckpointFile(), quiet or as_json
    with context.store(timeout) as store, bounded("Migrating", max_seconds, rate=rate, quiet=silent) as run:
        if to is None:
            report = move(store, file, run, restart=restart)
        else:
            with target_at(to, to_mode, store.settings) as (target, place):
                report = move_to(store, target, place, file, run, restart=restart)
    show_run(report, as_json=as_json, quiet=quiet)
    return report


@app.command()
def verify(
    typer_context: typer.Context,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="Compare about so many, evenly.")] = None,
    cursor: PlaceOption = "",
    max_seconds: options.Rest = None,
    to: ToOption = None,
    to_mode: ModeOption = "standalone",
    quiet: QuietOption = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Compare every living session of the database with Redis: version, content, time to live.

    With --to, every session of Redis with the other one, and its index. A key may live longer than its row says,
    because reads are noted late, and may end 2 seconds earlier. Exit code 1: something differs.
    """
    from checkout_cli.commands.migrate import verify as comparing
    from checkout_cli.commands.migrate.copy import target_at
    from checkout_cli.commands.migrate.view import show_verified

    only_with(typer_context, "to_mode", what="--to", given=to is not None)
    context, silent = current(), quiet or as_json
    with context.store(timeout) as store, bounded("Comparing", max_seconds, quiet=silent) as run:
        if to is None:
            found = comparing.verify(store, run, sample=sample, cursor=cursor)
        else:
            with target_at(to, to_mode, store.settings) as (target, place):
                found = comparing.verify_at(store, target, place, run, sample=sample, cursor=cursor)
    show_verified(found, as_json=as_json, quiet=quiet, to=to is not None)
    return found


@app.command()
def status(as_json: options.Json = False) -> None:
    """Say how far the last migration of this user came, according to its checkpoint; asks no server."""
    from checkout_cli.commands.migrate.checkpoint import CheckpointFile
    from checkout_cli.commands.migrate.view import show_status

    show_status(CheckpointFile().read(), as_json=as_json)

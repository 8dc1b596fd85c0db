"""``checkoutctl sessions``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, audit, bounded, current
from checkout_cli.arguments.options import Finite, WithTransitions, duration
from checkout_cli.errors import ExitCode

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
index = typer.Typer(
    help="Compare the index with the sessions, repair it, adopt it.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(index, name="index")

# These repeat what checkout_cli.session and the operation define, which would be slow to import here; a test compares.
Status = Literal["pending", "processing", "paid", "failed", "cancelled", "unreadable"]
Sort = Literal["newest", "oldest", "expires", "total", "status"]
Tier = Literal["redis", "database", "memory"]

PrefixArgument = Annotated[str, typer.Argument(metavar="ID", help="The id, or its beginning.", show_default=False)]
OlderThanOption = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="DURATION", help="Only what was created longer ago, such as 2h."),
]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    status: Annotated[
        Status | None, typer.Option(help="Only this payment status; unreadable: what is no session.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only of this user; the whole id.")] = None,
    expiring_within: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="Only what ends within, such as 5m.")
    ] = None,
    older_than: OlderThanOption = None,
    sort: Annotated[
        Sort, typer.Option(help="Any other order than newest looks at every session, but at most at 100,000.")
    ] = "newest",
    max_seconds: Annotated[
        float | None,
        typer.Option(click_type=Finite(0.1), help="Look for so long, instead of 5 s and at 100,000 entries at most."),
    ] = None,
    tier: Annotated[Tier | None, typer.Option(help="Look only there.")] = None,
    output: options.Output = None,
    as_json: options.Json = False,
    reveal: options.Reveal = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> ExitCode:
    """List sessions, newest first: those that expire last. Looking at them never extends their life.

    Durations have a unit: 90s, 15m, 2h, 1d. What is no session is a row that says so. Where Redis is away, the
    database is listed. An id that is or holds an e-mail address or a phone number is masked; among ids alone it is
    left out, with exit code 1, unless --reveal.
    """
    from checkout_cli.commands.sessions.sessions import LONGEST_LOOK, Order, Selection, list_sessions, waiting
    from checkout_cli.commands.sessions.view import show_list
    from checkout_cli.commands.sync.view import narrate_pending
    from checkout_cli.session import TierName
    from checkout_cli.terminal.output import warn

    look_in = None if tier is None else TierName(tier)
    wanted = Selection(limit, status, user, expiring_within, older_than, look_in, Order(sort))
    shape = options.shape_of(output, as_json=as_json)
    quiet = shape != "table" or sort == "newest"  # whose first sessions are there at once
    with current().store(timeout) as store, bounded("Listing", max_seconds or LONGEST_LOOK, quiet=quiet) as run:
        most = None if max_seconds is None else math.inf
        found = list_sessions(store, wanted, run, most=most, tell=warn)
        if reveal:
            audit("sessions list", f"up to {limit} sessions")
        now, missing = store.clock.wall(), store.redis.missing_servers
        exit_code = show_list(found, shape, run, now=now, limit=limit, missing=missing, reveal=reveal)
        narrate_pending(waiting(store))
    return exit_code


@app.command()
def show(
    checkout_id: PrefixArgument,
    reveal: options.Reveal = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> ExitCode:
    """Show a whole session: fields, items, time to live, tier and version. Looking never extends its life.

    The beginning of an id is enough where no other session has it. Personal data is masked unless --reveal. Exit code
    1 where the value is no session, 3 where it has expired: its row is shown as long as it is kept.
    """
    from checkout_cli.commands.sessions.find import find
    from checkout_cli.commands.sessions.view import show_session
    from checkout_cli.privacy.personal_ids import id_beginning
    from checkout_cli.terminal.output import warn

    with current().store(timeout) as store:
        sighting = find(store, checkout_id, tell=warn, ended=True)
        now = store.clock.wall()
    if reveal:
        audit("sessions show", f"session {id_beginning(sighting.checkout_id)}")
    show_session(sighting, now, as_json=as_json, reveal=reveal)
    if sighting.has_expired(now):
        return ExitCode.NOT_FOUND
    return ExitCode.OK if sighting.problem is None else ExitCode.FINDING


@app.command()
def trace(
    checkout_id: PrefixArgument,
    reveal: options.Reveal = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Show a session in every tier side by side, and where they differ, field by field. Nothing is extended.

    Personal data is masked unless --reveal; that two masked values differ is shown all the same.
    """
    from checkout_cli.commands.sessions.trace import trace as trace_session
    from checkout_cli.commands.sessions.trace_view import show_trace
    from checkout_cli.privacy.personal_ids import id_beginning

    with current().store(timeout) as store:
        found = trace_session(store, checkout_id)
    if reveal:
        audit("sessions trace", f"session {id_beginning(found.checkout_id)}")
    show_trace(found, as_json=as_json, reveal=reveal)


@app.command()
def why(
    given: Annotated[
        str,
        typer.Argument(metavar="ID|USER", help="A session's id or its beginning, or a user's id.", show_default=False),
    ],
    is_user: Annotated[
        bool, typer.Option("--user", help="It is a user's id; looks at 100,000 living and 100,000 ended sessions.")
    ] = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Say in words what became of a session, and by what evidence: alive, expired, deleted, evicted, and so on.

    Ended sessions are found as long as their rows, tombstones or index entries are kept. Of a deletion, the undo file
    is named. Exit code 0 where it is alive and well, 1 where something is wrong with it, 3 where it has ended or never
    was. Of a user, all sessions are told, also ended ones, if the user is tracked or --user is given.
    """
    from checkout_cli.commands.sessions.trace_view import show_answer
    from checkout_cli.commands.sessions.why_user import explain_either, explain_user

    with current().store(timeout) as store, bounded("Looking", quiet=as_json) as run:
        answer = (explain_user if is_user else explain_either)(store, given, run)
    show_answer(answer, as_json=as_json)
    return answer


@app.command()
def export(
    output: Annotated[Literal["ndjson", "csv"], typer.Option("--output", "-o", help="ndjson or csv.")] = "ndjson",
    cursor: Annotated[
        str | None, typer.Option(help="Go on where another export has stopped; it says where.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after about so many, and tell the cursor.", show_default=False)
    ] = None,
    max_seconds: options.Rest = None,
    reveal: options.Reveal = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> ExitCode:
    """Write all living sessions to stdout, those that can end first come first; nothing is extended.

    Each comes once, from the tier that is to be believed; after a cursor, one that was written since may come again.
    Personal data is masked unless --reveal. Whatever interrupts it, the cursor is told on stderr. In CSV, no cell can
    be taken for a formula.
    """
    from checkout_cli.commands.sessions import export as exporting
    from checkout_cli.commands.sessions.export_view import write_export
    from checkout_cli.terminal.output import is_terminal, warn

    with current().store(timeout) as store, bounded("Exporting", max_seconds, quiet=is_terminal(sys.stdout)) as run:
        pages = exporting.export(store, cursor=cursor, tell=warn)
        if reveal:
            audit("sessions export", "all sessions")
        now, missing = store.clock.wall(), store.redis.missing_servers
        return write_export(pages, output, run, now=now, reveal=reveal, limit=limit, missing=missing)


@app.command()
def create(
    file: Annotated[str, typer.Option("--file", "-f", help="A file with one JSON object; - for stdin.")],
    checkout_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id; one is made where none is given.")
    ] = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Create a session from a JSON object, and print its id.

    What cannot be kept durably is refused, with exit code 75.
    """
    from checkout_cli.commands.sessions import sessions
    from checkout_cli.commands.sessions.view import show_written
    from checkout_cli.terminal.output import is_terminal, narrate

    if file == "-" and is_terminal(sys.stdin):
        narrate("reading the session's JSON from the terminal; end it with Ctrl-D")
    fields = sessions.read_document(sys.stdin.buffer if file == "-" else Path(file))
    with current().store(timeout) as store:
        written = sessions.create(store, fields, checkout_id=checkout_id)
    show_written(written, what="created", as_json=as_json)


@app.command(cls=WithTransitions)
def update(
    checkout_id: PrefixArgument,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field to set; may be repeated.")
    ] = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Set fields of a session, all of them in one version; every other field stays as it is.

    A value is JSON where it is valid JSON, else text: count=3 is a number, count='"3"' is text. A dotted path sets a
    field inside an object. A payment status that may not follow the present one is refused (table below). The session
    gets its full life again.
    """
    from checkout_cli.commands.sessions import sessions
    from checkout_cli.commands.sessions.view import show_written

    with current().store(timeout) as store:
        written = sessions.update(store, checkout_id, assignments or [])
    show_written(written, what="updated", as_json=as_json)


@app.command()
def delete(
    checkout_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or their beginnings.", show_default=False)
    ] = None,
    user: Annotated[str | None, typer.Option(help="All sessions of this user; the whole id.")] = None,
    status: Annotated[Status | None, typer.Option(help="All sessions of this payment status.")] = None,
    older_than: OlderThanOption = None,
    undo_file: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Where to write the undo file; default: the state directory.")
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            click_type=Finite(0.01),
            help="Look for half of it, instead of 5 s and at 100,000 entries at most, and delete for the other half.",
        ),
    ] = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Delete sessions for good, from every tier; their ids stay dead.

    Shows how many, and what is in their baskets, and asks; without a terminal it needs --yes. Before the first one
    goes, all of them are in an undo file (mode 0600, personal data inside) for `sessions restore`. Exit code 1 where
    something was left alone because it has changed since, or not everything was looked at.
    """
    from checkout_cli.commands.sessions import delete as deletion
    from checkout_cli.commands.sessions.delete_view import preview, question, show_deletion
    from checkout_cli.commands.sessions.sessions import LONGEST_LOOK, Selection
    from checkout_cli.terminal.prompt import confirm

    wanted = Selection(status=status, user=user, older_than=older_than)
    half = None if max_seconds is None else max_seconds / 2
    with current().store(timeout) as store:
        with bounded("Looking", half or LONGEST_LOOK, quiet=as_json) as look:
            most = None if max_seconds is None else math.inf
            plan = deletion.plan(store, checkout_ids or (), wanted, look, most=most, undo_file=undo_file)
        with bounded("Deleting", half, quiet=as_json or plan.number == 1) as run:
            deleted = deletion.delete_all(
                store,
                plan,
                run,
                agreed=lambda it: confirm(preview(it, dry_run=dry_run), question(it), yes=yes, dry_run=dry_run),
            )
    show_deletion(deleted, seconds=look.seconds, dry_run=dry_run, as_json=as_json)
    return deleted


@app.command()
def restore(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|ID",
            help="The undo file of a deletion, or the id of a session that an external writer deleted.",
            show_default=False,
        ),
    ],
    max_seconds: options.MaxSeconds = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Take a deletion back: each session to which nothing has happened since, with the end that it had.

    It can be run again after an interruption. Exit code 1 where a session was left alone because something has
    happened under its id. A deletion of an external writer, where CHECKOUT_EXTERNAL_DELETES=honour has taken it for
    one, has no file: the database keeps the session as long as its tombstone.
    """
    from checkout_cli.commands.sessions import delete as deletion
    from checkout_cli.commands.sessions.delete_view import show_restoration

    with current().store(timeout) as store, bounded("Restoring", max_seconds, quiet=as_json) as run:
        restored = deletion.restore(store, what, run, dry_run=dry_run)
    show_restoration(restored, as_json=as_json)
    return restored


@app.command()
def extend(
    checkout_id: PrefixArgument,
    by: Annotated[float, typer.Option(parser=duration, metavar="DURATION", help="How much longer, such as 30m.")],
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Let a session live longer than it would, at most up to its maximum age.

    The shop's next write grants the full TTL from then, as every write does, which may be less.
    """
    from checkout_cli.commands.sessions import sessions
    from checkout_cli.commands.sessions.delete_view import show_extension
    from checkout_cli.files.own_traces import note_extension

    with current().store(timeout) as store:
        extended = sessions.extend(store, checkout_id, by)
        now = store.clock.wall()
    note_extension(extended.checkout_id, now, extended.after)
    show_extension(extended, now, as_json=as_json)


@index.command()
def check(
    cursor: options.Cursor = "0",
    max_seconds: options.Rest = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Compare the index with the keys, both ways; changes nothing.

    Tells of sessions that it does not list, entries without a session, entries that are late, sessions that never
    end, and whether an older program's SET has them all. Exit code 1 where something needs repair. Safe while traffic
    runs.
    """
    from checkout_cli.commands.sessions.index import check_index
    from checkout_cli.commands.sessions.index_view import show_index

    context = current()
    with context.store(timeout) as store, bounded("Checking", max_seconds, quiet=as_json) as run:
        report = check_index(store, run, cursor=cursor)
    show_index(report, as_json=as_json)
    return report


@index.command()
def repair(
    fix_ttl: Annotated[
        bool, typer.Option("--fix-ttl", help="Give sessions that never end the full time to live.")
    ] = False,
    max_seconds: options.MaxSeconds = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Enter what is missing, take out what has no session; no session is changed.

    An older program's SET stays where it is, and gets what it lacks. Shows what it found and asks; without a terminal
    it needs --yes. Safe while traffic runs; two never run at once, nor beside a clean-up: the second exits with 75.
    Exit code 1 where something is left.
    """
    from checkout_cli.commands.sessions.index import IndexReport, preview_repair, repair_index
    from checkout_cli.commands.sessions.index_view import repair_preview, show_index
    from checkout_cli.terminal.prompt import confirm

    def agreed(found: IndexReport) -> bool:
        return confirm(repair_preview(found, fix_ttl=fix_ttl), "Repair the index?", yes=yes)

    with current().store(timeout) as store, bounded("Repairing", max_seconds, quiet=as_json) as run:
        report = preview_repair(store, run) if dry_run else repair_index(store, run, agreed=agreed, fix_ttl=fix_ttl)
    show_index(report, as_json=as_json)
    return report


@index.command()
def adopt(
    force: Annotated[bool, typer.Option("--force", help="Even if another program was seen within a day.")] = False,
    max_seconds: options.MaxSeconds = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Replace an older program's SET at checkout:index by our own index, once that program is retired.

    Until then our index lies beside the SET, and both are kept. Asks first; without a terminal it needs --yes. Every
    session stays listed, also while traffic runs; interrupted, it is finished by running it again. Exit code 1:
    another program was seen within a day (--force), something else is there, or it is not finished. 75: a clean-up
    runs.
    """
    from checkout_cli.commands.sessions.index_adoption import AdoptionReport, adopt_index
    from checkout_cli.commands.sessions.index_view import adoption_preview, show_adoption
    from checkout_cli.keys import INDEX
    from checkout_cli.terminal.prompt import confirm

    def agreed(found: AdoptionReport) -> bool:
        return confirm(adoption_preview(found), f"Put our index at {INDEX}?", yes=yes, dry_run=dry_run)

    with current().store(timeout) as store, bounded("Adopting", max_seconds, quiet=as_json) as run:
        report = adopt_index(store, run, agreed=agreed, force=force)
    show_adoption(report, as_json=as_json)
    return report

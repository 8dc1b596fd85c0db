"""``checkoutctl sessions``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from checkout_cli.cli.context import (
    DEFAULT_TIMEOUT,
    DryRunOption,
    JsonOption,
    OutputOption,
    RevealOption,
    TimeoutOption,
    YesOption,
    audit,
    context_of,
    output_of,
)
from checkout_cli.cli.durations import duration
from checkout_cli.errors import ExitCode

if TYPE_CHECKING:
    from checkout_cli.store.records import Sighting

app = typer.Typer(help="List, show, create, change and delete sessions.", no_args_is_help=True, rich_markup_mode=None)

# These repeat what checkout_cli.session and the operation define, which would be slow to import here; a test compares.
Status = Literal["pending", "processing", "paid", "failed", "cancelled", "unreadable"]
Sort = Literal["newest", "oldest", "expires", "total", "status"]
Tier = Literal["redis", "database", "memory"]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's whole id.", show_default=False)]


@app.command("list")
def list_(
    typer_context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    status: Annotated[
        Status | None, typer.Option(help="Only this payment status; unreadable: what is no session.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only of this user; the whole id.")] = None,
    expiring_within: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="Only what ends within, such as 5m.")
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="Only what was created longer ago, such as 2h."),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(help="Any other order than newest looks at every session, but at most at 100,000.")
    ] = "newest",
    tier: Annotated[Tier | None, typer.Option(help="Look only there.")] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
    reveal: RevealOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """List sessions, newest first: those that expire last. Looking at them never extends their life.

    Durations have a unit: 90s, 15m, 2h, 1d. What is no session is a row that says so. Where Redis is away, the
    database is listed.

    Example: checkoutctl sessions list --status failed --older-than 10m --output csv
    """
    from checkout_cli.operations.sessions import Order, Selection, list_sessions, waiting
    from checkout_cli.render.output import warn
    from checkout_cli.render.session_view import show_list
    from checkout_cli.render.sync_view import narrate_pending
    from checkout_cli.session import TierName

    look_in = None if tier is None else TierName(tier)
    wanted = Selection(limit, status, user, expiring_within, older_than, look_in, Order(sort))
    shape = output_of(output, as_json=as_json)
    with context_of(typer_context).store(timeout) as store:
        found = list_sessions(store, wanted, tell=warn)
        if reveal:
            audit("sessions list", f"up to {limit} sessions")
        show_list(found, shape, now=store.clock.wall(), limit=limit, missing=store.redis.missing_servers, reveal=reveal)
        narrate_pending(waiting(store))


@app.command()
def show(
    typer_context: typer.Context,
    checkout_id: Annotated[str, typer.Argument(metavar="ID", help="The id, or its beginning.", show_default=False)],
    reveal: RevealOption = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Show a whole session: fields, items, time to live, tier and version. Looking never extends its life.

    The beginning of an id is enough where no other session has it. Personal data is masked unless --reveal. Exit code
    1 where the value is no session.

    Example: checkoutctl sessions show 4645c59d
    """
    from checkout_cli.operations.sessions import find
    from checkout_cli.render import session_view
    from checkout_cli.render.output import warn

    with context_of(typer_context).store(timeout) as store:
        sighting = find(store, checkout_id, tell=warn)
        now = store.clock.wall()
    if reveal:
        audit("sessions show", f"session {sighting.checkout_id[:8]}…")
    view = session_view.write_session if as_json else session_view.show_session
    view(sighting, now, reveal=reveal)
    if sighting.problem is not None:
        raise typer.Exit(ExitCode.FINDING)


@app.command()
def trace(
    typer_context: typer.Context,
    checkout_id: Annotated[str, typer.Argument(metavar="ID", help="The id, or its beginning.", show_default=False)],
    reveal: RevealOption = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Show a session in every tier side by side, and where they differ, field by field. Nothing is extended.

    Personal data is masked unless --reveal; that two masked values differ is shown all the same.

    Example: checkoutctl sessions trace 4645c59d
    """
    from checkout_cli.operations.trace import trace as trace_session
    from checkout_cli.render.trace_view import show_trace

    with context_of(typer_context).store(timeout) as store:
        found = trace_session(store, checkout_id)
    if reveal:
        audit("sessions trace", f"session {found.checkout_id[:8]}…")
    show_trace(found, as_json=as_json, reveal=reveal)


@app.command()
def why(
    typer_context: typer.Context,
    given: Annotated[str, typer.Argument(metavar="ID|USER", help="A session's id, or a user's.", show_default=False)],
    is_user: Annotated[bool, typer.Option("--user", help="It is a user's id; looks at 100,000 sessions.")] = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Say in words what became of a session, and by what evidence: alive, expired, deleted, evicted, and so on.

    Exit code 0 where it is alive and well, 1 where something is wrong with it, 3 where it has ended or never was. Of a
    user, the sessions that are alive are told, if the user is tracked or --user is given.

    Example: checkoutctl sessions why 4645c59d-c428-4017-af90-a43ee2787c34
    """
    from checkout_cli.operations.why import explain, explain_user
    from checkout_cli.render.trace_view import show_answer

    with context_of(typer_context).store(timeout) as store:
        answer = (explain_user if is_user else explain)(store, given)
    show_answer(answer, as_json=as_json)
    if answer.exit_code:
        raise typer.Exit(answer.exit_code)


@app.command()
def create(
    typer_context: typer.Context,
    file: Annotated[str, typer.Option("--file", "-f", help="A file with one JSON object; - for stdin.")],
    checkout_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id; one is made where none is given.")
    ] = None,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Create a session from a JSON object, and print its id.

    What cannot be kept durably is refused, with exit code 75.

    Example: echo '{"items": [], "totalAmount": 0}' | checkoutctl sessions create --file -
    """
    from checkout_cli.operations import sessions
    from checkout_cli.render.output import is_terminal, narrate
    from checkout_cli.render.session_view import show_written

    if file == "-" and is_terminal(sys.stdin):
        narrate("reading the session's JSON from the terminal; end it with Ctrl-D")
    fields = sessions.read_document(sys.stdin.buffer if file == "-" else Path(file))
    with context_of(typer_context).store(timeout) as store:
        written = sessions.create(store, fields, checkout_id=checkout_id)
    show_written(written, what="created", as_json=as_json)


@app.command()
def update(
    typer_context: typer.Context,
    checkout_id: IdArgument,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field to set; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Set fields of a session, all of them in one version; every other field stays as it is.

    A value is JSON where it is valid JSON, else text: count=3 is a number, count='"3"' is text. A dotted path sets a
    field inside an object. A payment status can only go where the payment may go. The session gets its full life again.

    Example: checkoutctl sessions update 4645c59d-c428-4017-af90-a43ee2787c34 --set contactInfo.name=Ada
    """
    from checkout_cli.operations import sessions
    from checkout_cli.render.session_view import show_written

    with context_of(typer_context).store(timeout) as store:
        written = sessions.update(store, checkout_id, assignments or [])
    show_written(written, what="updated", as_json=as_json)


@app.command()
def delete(
    typer_context: typer.Context,
    checkout_id: IdArgument,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Delete a session for good, from every tier; its id stays dead.

    Shows what it is and asks; without a terminal it needs --yes.

    Example: checkoutctl sessions delete 4645c59d-c428-4017-af90-a43ee2787c34 --dry-run
    """
    from checkout_cli.operations import sessions
    from checkout_cli.render.session_view import show_deleted

    with context_of(typer_context).store(timeout) as store:
        agreed = _Consent(store.clock.wall(), yes=yes, dry_run=dry_run)
        deleted = sessions.delete(store, checkout_id, agreed=agreed)
    show_deleted(deleted, dry_run=dry_run, as_json=as_json)
    if not (deleted.done or dry_run):
        raise typer.Exit(ExitCode.FINDING)


class _Consent:
    """Shows what is about to be deleted, and asks a person unless that is settled."""

    def __init__(self, now: int, *, yes: bool, dry_run: bool) -> None:
        self._now = now
        self._yes = yes
        self._dry_run = dry_run

    def __call__(self, sighting: Sighting) -> bool:
        from checkout_cli.render.output import narrate
        from checkout_cli.render.prompt import confirm
        from checkout_cli.render.session_view import describe

        narrate(describe(sighting, self._now))
        if self._dry_run or self._yes:
            return not self._dry_run
        return confirm("Delete it for good?", hint="the same command with --yes, or with --dry-run to look only")

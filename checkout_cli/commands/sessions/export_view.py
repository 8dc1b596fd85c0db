"""Exported sessions as NDJSON or CSV, page by page, masked unless revealed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from checkout_cli import lone_surrogates
from checkout_cli.commands.sessions.export import Exported, Page
from checkout_cli.commands.sessions.export_masking_view import body_shown
from checkout_cli.commands.sessions.view import CSV_COLUMNS, summary
from checkout_cli.errors import ExitCode
from checkout_cli.jobs.bounded_run import BoundedRun, Stopped
from checkout_cli.keys import is_accepted_id
from checkout_cli.session import Session, TierName, decode, iso
from checkout_cli.store.records import Sighting
from checkout_cli.strict_json import json_text
from checkout_cli.terminal.csv_writer import write_csv
from checkout_cli.terminal.masking import fields_shown, id_shown
from checkout_cli.terminal.output import SCHEMA_VERSION, narrate, warn, warn_if_partial, write
from checkout_cli.typed import typed

MANY_DEAD = 10_000
"""Entries without a session that make an export slow."""
_NOT_ASKED = frozenset({"expiresInSeconds", "problem", "detail", "dirty"})
_COLUMNS = tuple("endsAt" if name == "expiresAt" else name for name in CSV_COLUMNS if name not in _NOT_ASKED)


def write_export(
    pages: Iterable[Page],
    output: str,
    run: BoundedRun,
    *,
    now: int,
    reveal: bool,
    limit: int | None = None,
    missing: Callable[[], Sequence[str]] = tuple,
) -> ExitCode:
    """Write all pages; whatever ends it early, the cursor is on stderr. ``now`` is in milliseconds."""
    number = unreadable = dead = 0
    cursor = ""

    def rows() -> Iterator[list[Exported]]:
        nonlocal number, unreadable, dead, cursor
        for page in run.pages(pages, lambda page: len(page.sessions) + page.dead):
            yield page.sessions
            number, unreadable, cursor = number + len(page.sessions), unreadable + page.unreadable, page.cursor
            dead += page.dead
            if limit is not None and number >= limit:
                run.stopped = Stopped.ENOUGH
                return

    is_complete = False
    try:
        with run.bounds():
            _write(rows(), output, now=now, reveal=reveal)
        is_complete = run.finished
        if unreadable:
            hint = "checkoutctl sessions list --status unreadable"
            warn(f"{unreadable:,} values were no sessions and are left out: {hint}")
        narrate(f"{number:,} sessions")
        if dead >= MANY_DEAD:
            narrate(f"{dead:,} entries of the index have no session: checkoutctl cleanup --index")
        warn_if_partial(missing())
    finally:
        if cursor and not is_complete:
            narrate(f"to go on: {typed('checkoutctl sessions export --cursor {}', cursor)}")
    if run.stopped is Stopped.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.FINDING if missing() else ExitCode.OK


def _write(pages: Iterable[list[Exported]], output: str, *, now: int, reveal: bool) -> None:
    if output == "csv":
        columns = (*_COLUMNS, "fields") if reveal else _COLUMNS
        write_csv(columns, (_cells(row, now, columns) for page in pages for row in page))
    else:
        for page in pages:
            write("".join([_line(row, reveal) for row in page]))


def _line(row: Exported, reveal: bool) -> str:
    checkout_id, tier, version, ends_at, body = row
    shown = id_shown(checkout_id, reveal=reveal)
    name = f'"{shown}"' if is_accepted_id(shown) else json_text(shown)
    moment = "null"
    if ends_at is not None:
        seconds, rest = divmod(ends_at, 1000)
        moment = f'"{_second(seconds)}.{rest:03}Z"'
    return (
        f'{{"schemaVersion":{SCHEMA_VERSION},"checkoutId":{name},"tier":"{tier}","version":{version},'
        f'"endsAt":{moment},"session":{_in_one_line(body if reveal else body_shown(body))}}}\n'
    )


@lru_cache  # they come in their order, so that many share a second
def _second(seconds: int) -> str:
    return iso(seconds * 1000).removesuffix(".000Z")


def _in_one_line(body: bytes) -> str:
    """Compact ASCII JSON; lone surrogates are replaced, because few readers but JavaScript's take them."""
    if b"\\" in body:
        body = lone_surrogates.replaced(body)
    text = body.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() else json_text(decode(body))


def _cells(row: Exported, now: int, columns: Iterable[str]) -> list[Any]:
    fields = decode(row.body)
    session = Session(row.checkout_id, fields, row.version, TierName(row.tier))
    sighting = Sighting(row.checkout_id, row.tier, session, row.ends_at, len(row.body))
    shown = summary(sighting, now, reveal="fields" in columns)
    shown["endsAt"] = shown["expiresAt"]
    if "fields" in columns:
        shown["fields"] = json.dumps(fields_shown(fields, reveal=True), ensure_ascii=False)
    return [shown[name] for name in columns]

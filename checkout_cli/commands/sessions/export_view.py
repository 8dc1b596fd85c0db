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
from checkout_cli.errors import CheckoutError
from checkout_cli.keys import is_accepted_id
from checkout_cli.session import Session, TierName, decode, iso
from checkout_cli.store.records import Sighting
from checkout_cli.terminal.masking import fields_shown
from checkout_cli.terminal.output import SCHEMA_VERSION, narrate, warn, warn_if_partial, write, write_csv

_NOT_ASKED = frozenset({"expiresInSeconds", "problem", "detail", "dirty"})
_COLUMNS = tuple("endsAt" if name == "expiresAt" else name for name in CSV_COLUMNS if name not in _NOT_ASKED)


def write_export(
    pages: Iterable[Page],
    output: str,
    *,
    now: int,
    reveal: bool,
    limit: int | None = None,
    missing: Callable[[], Sequence[str]] = tuple,
) -> None:
    """All pages; whatever ends it early, the cursor to go on with is told. ``now`` is in milliseconds.

    ``missing`` tells afterwards which servers of a cluster did not answer, so that it may be only a part.
    """
    told = _Told()
    try:
        rows = told.rows(pages, limit)
        if output == "csv":
            columns = (*_COLUMNS, "fields") if reveal else _COLUMNS
            write_csv(columns, (_cells(row, now, columns) for page in rows for row in page))
        else:
            for page in rows:
                write("".join([_line(row, reveal) for row in page]))
    except (CheckoutError, KeyboardInterrupt, SystemExit):
        told.where_to_go_on()
        raise
    if told.unreadable:
        hint = "checkoutctl sessions list --status unreadable"
        warn(f"{told.unreadable:,} values were no sessions and are left out: {hint}")
    narrate(f"{told.number:,} sessions")
    warn_if_partial(missing())
    if told.stopped:
        told.where_to_go_on()


class _Told:
    def __init__(self) -> None:
        self.number = self.unreadable = 0
        self.cursor = ""
        self.stopped = False

    def rows(self, pages: Iterable[Page], limit: int | None) -> Iterator[list[Exported]]:
        for page in pages:
            yield page.sessions
            self.number += len(page.sessions)
            self.unreadable += page.unreadable
            self.cursor = page.cursor
            if limit is not None and self.number >= limit:
                self.stopped = True
                return

    def where_to_go_on(self) -> None:
        if self.cursor:
            narrate(f"to go on: checkoutctl sessions export --cursor {self.cursor}")


def _line(row: Exported, reveal: bool) -> str:
    checkout_id, tier, version, ends_at, body = row
    return (
        f'{{"schemaVersion":{SCHEMA_VERSION},"checkoutId":{_name(checkout_id)},"tier":"{tier}","version":{version},'
        f'"endsAt":{_moment(ends_at)},"session":{_in_one_line(body if reveal else body_shown(body))}}}\n'
    )


def _name(checkout_id: str) -> str:
    return f'"{checkout_id}"' if is_accepted_id(checkout_id) else json.dumps(checkout_id)


def _moment(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "null"
    seconds, rest = divmod(milliseconds, 1000)
    return f'"{_second(seconds)}.{rest:03}Z"'


@lru_cache  # they come in their order, so that many share a second
def _second(seconds: int) -> str:
    return iso(seconds * 1000).removesuffix(".000Z")


def _in_one_line(body: bytes) -> str:
    """Compact ASCII JSON; lone surrogates are replaced, because few readers but JavaScript's take them."""
    if b"\\" in body:
        body = lone_surrogates.replaced(body)
    if body.isascii() and b"\n" not in body and b"\r" not in body:
        return body.decode()
    return json.dumps(decode(body), separators=(",", ":"))


def _cells(row: Exported, now: int, columns: Iterable[str]) -> list[Any]:
    fields = decode(row.body)
    session = Session(row.checkout_id, fields, row.version, TierName(row.tier))
    sighting = Sighting(row.checkout_id, row.tier, session, row.ends_at, len(row.body))
    shown = summary(sighting, now, reveal="fields" in columns)
    shown["endsAt"] = shown["expiresAt"]
    if "fields" in columns:
        shown["fields"] = json.dumps(fields_shown(fields, reveal=True), ensure_ascii=False)
    return [shown[name] for name in columns]

"""An external writer: a program on the same Redis that knows nothing of versions, nor of us."""

from __future__ import annotations

import json
from typing import Any, Protocol

import pytest

from checkout_cli.keys import session_key
from checkout_cli.session import STORE_FIELD, decode
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.flush_log import Conflict
from tests.faults.harness import (
    ID,
)

TTL = 1800

Fields = dict[str, Any]


class Book(Protocol):
    """Who reckons with what an external writer writes."""

    def new_mark(self, of: str) -> str:
        """A field that no other write sets."""

    def note_external(self, mark: str, checkout_id: str) -> None:
        """It was written."""


class ExternalWriter:
    """Reads with GET and a JSON parser, and writes all of it back with SETEX, as the shop's older program does.

    One that keeps our header has it among the fields that it read; one that drops it builds an object of its own.
    Each write sets a field of its own, which the reckoning looks for.
    """

    def __init__(self, book: Book, client: Any, *, keeps_header: bool) -> None:
        self._book = book
        self._client = client
        self.keeps_header = keeps_header

    def read(self, checkout_id: str = ID) -> Fields:
        """The session as this program has it in its memory."""
        fields = self.find(checkout_id)
        assert fields is not None, "the external writer finds no session"
        return fields

    def find(self, checkout_id: str) -> Fields | None:
        """The same, where there is one."""
        value = self._client.get(session_key(checkout_id))
        if value is None:
            return None
        fields: Fields = json.loads(value)
        if not self.keeps_header:
            fields.pop(STORE_FIELD, None)
        return fields

    def write(self, read: Fields, checkout_id: str = ID, **fields: Any) -> str:
        """Write back what was read, however long ago, with some fields set; returns the mark that was set too."""
        mark = self._book.new_mark("theirs")
        text = json.dumps({**read, **fields, mark: 1}, separators=(",", ":"))
        self._client.execute_command("SETEX", session_key(checkout_id), TTL, text)
        self._book.note_external(mark, checkout_id)
        return mark

    def update(self, checkout_id: str = ID, **fields: Any) -> str:
        """Read and write back at once."""
        return self.write(self.read(checkout_id), checkout_id, **fields)

    def delete(self, checkout_id: str = ID) -> None:
        """End a session, as the older program does after an order."""
        self._client.delete(session_key(checkout_id))


KEEPS = pytest.mark.parametrize("keeps", [True, False], ids=["keeps the header", "drops the header"])


def row_of(store: CheckoutStore) -> tuple[int, dict[str, object]]:
    """The version and the fields of the session's row."""
    row = store.database.read(ID)
    assert row is not None
    assert row.body is not None
    return row.version, decode(row.body)


def conflicts_of(store: CheckoutStore) -> list[Conflict]:
    return store.flush_log.conflicts(100)


def assert_taken_in(store: CheckoutStore, mark: str, *, keeps: bool) -> None:
    """With its header, it is in the row; without, nobody knows what it grew from, and both contents are kept."""
    _, fields = row_of(store)
    if keeps:
        assert mark in fields
        assert conflicts_of(store) == []
    else:
        assert mark not in fields
        (conflict,) = conflicts_of(store)
        assert conflict.fields is not None
        assert conflict.found_body is not None, "only one content is kept"
        assert (mark in conflict.fields, mark in decode(conflict.found_body)) == (True, False)

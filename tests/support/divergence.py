"""Sessions that one tier has and the other lacks, conflicts, and writes of an external program."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import update

from checkout_cli.commands.sync.sync import (
    synchronize,
)
from checkout_cli.config.settings import Settings
from checkout_cli.session import STORE_FIELD, Durability
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.flush_log import Conflict
from checkout_cli.store.database.schema import sessions
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    make_store,
    put_raw,
    raw,
    without_redis,
)

StartServer = Callable[..., ValkeyServer]


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Another process holds the SQLite file, so that nothing can be written to it."""
    connection = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextmanager
def beside_the_database(settings: Settings) -> Iterator[CheckoutStore]:
    """The store of a process that cannot write to the database, and so writes to Redis alone."""
    with locked(settings), make_store(dataclasses.replace(settings, database_timeout=0.05)) as writer:
        yield writer


@contextmanager
def beside_redis(settings: Settings) -> Iterator[CheckoutStore]:
    """The store of a process that does not reach Redis, and so writes to the database alone."""
    with make_store(without_redis(settings)) as writer:
        yield writer


def create_in_redis_alone(settings: Settings, *checkout_ids: str, **fields: Any) -> None:
    with beside_the_database(settings) as writer:
        for checkout_id in checkout_ids:
            assert writer.create(fields, checkout_id=checkout_id).durability is Durability.REDIS


def update_in_redis_alone(settings: Settings, checkout_id: str, **fields: Any) -> None:
    with beside_the_database(settings) as writer:
        assert writer.update(checkout_id, fields).durability is Durability.REDIS


def update_in_database_alone(settings: Settings, checkout_id: str, **fields: Any) -> None:
    with beside_redis(settings) as writer:
        assert not writer.update(checkout_id, fields).published


def make_conflict(store: CheckoutStore, checkout_id: str = "session-0001", **written: Any) -> Conflict:
    """A session that was changed in Redis alone, while the database had a newer version already."""
    store.create({"notes": "first", "totalAmount": 1.50}, checkout_id=checkout_id)
    store.notes.write_down()
    update_in_redis_alone(store.settings, checkout_id, **(written or {"notes": "written"}))
    update_in_database_alone(store.settings, checkout_id, notes="database")
    synchronize(store)
    return store.flush_log.conflicts(1)[0]


def set_columns(store: CheckoutStore, checkout_id: str, **columns: Any) -> None:
    with store.database.transaction() as connection:
        connection.execute(update(sessions).where(sessions.c.checkout_id == checkout_id).values(columns))


def write_externally(store: CheckoutStore, checkout_id: str, *, header: bool = True, **fields: Any) -> bytes:
    """What a program writes that parses a session, changes it, and writes it whole; maybe without our header."""
    value = json.loads(raw(store, checkout_id) or b"{}")
    if not header:
        value.pop(STORE_FIELD, None)
    written = json.dumps({**value, **fields}, separators=(",", ":")).encode()
    put_raw(store, checkout_id, written)
    return written


def note_seen(store: CheckoutStore, moment: int) -> None:
    """As if an external writer's last write had been taken in at that moment (ms)."""
    with store.database.transaction() as connection:
        store.external.note(connection, moment, taken_in=1)

"""Whom a write tracks, what is kept of them, and that personal data gets nowhere."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, InvalidInput
from checkout_cli.session import Durability, iso
from checkout_cli.store.bookkeeping import USER_FIELDS, tracked_id
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.books import USER, counted, user
from tests.support.stores import ID, ManualClock, make_store, make_tables, put_raw

# Whom it tracks, and what of them


def test_a_users_checkouts_add_up(store: CheckoutStore, clock: ManualClock) -> None:
    first = iso(clock.milliseconds)
    for number, status in enumerate(["paid", "failed", "cancelled", "paid"]):
        clock.advance(10)
        checkout_id = f"session-{number:04}"
        store.create({"userId": USER}, checkout_id=checkout_id)
        store.set_payment_status(checkout_id, status)
    assert user(store) == {
        "firstSeen": iso(clock.milliseconds - 30_000),
        "lastSeen": iso(clock.milliseconds),
        "checkoutsStarted": "4",
        "checkoutsCompleted": "2",
        "checkoutsFailed": "1",
        "lastStatus": "paid",
    }
    assert user(store)["firstSeen"] > first
    assert set(user(store)) == set(USER_FIELDS)


def test_a_guest_who_logs_in_is_tracked_from_then_on(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    store.update(ID, {"userId": USER})
    assert user(store) == {}
    store.set_payment_status(ID, "paid", order_id="order-1")
    assert user(store).keys() == {"firstSeen", "lastSeen", "checkoutsCompleted", "lastStatus"}


@pytest.mark.parametrize(
    "user_id",
    [
        "u",
        "user-1",
        "google:117:a",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "3f8e1c52-7d10-4f3b-9b6f-0a4cf3b1d2e4",
        "a" * 128,
        "123456789",
        "user_9876543210",
        "98765432109876543210",
        42,
    ],
)
def test_an_id_that_tells_nothing_is_tracked(store: CheckoutStore, user_id: str | int) -> None:
    store.create({"userId": user_id}, checkout_id=ID)
    assert user(store, str(user_id))["checkoutsStarted"] == "1"


PERSONAL = [
    "jane.doe@example.com",
    "9876543210",
    "98765-43210",
    "+91 98765 43210",
    "+919876543210",
    "Jane Doe",
    "Jané",
    "12 Harbour Road, Kochi",
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "378282246310005",
]


@pytest.mark.parametrize(
    "user_id",
    [
        *PERSONAL,
        "",
        "a" * 129,
        "user-1\n",
        "user 1",
        "\u0661\u0662",
        "a/b",
        None,
        True,
        1.5,
        ["a"],
        {"a": 1},
        9876543210,
    ],
)
def test_an_id_that_may_be_personal_data_or_is_none_is_not_tracked(store: CheckoutStore, user_id: Any) -> None:
    assert tracked_id(user_id) is None
    try:
        store.create({"userId": user_id}, checkout_id=ID)
    except InvalidInput:
        return  # what looks like a card's number is refused altogether
    store.set_payment_status(ID, "failed")
    assert store.redis.ask(("KEYS", "user:*")) == []
    assert counted(store) == {"created": 1, "updated": 1, "failed": 1}


def test_personal_data_in_any_argument_reaches_nothing_but_the_sessions_own_body(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sqlalchemy")
    caplog.set_level(logging.DEBUG, "checkout_cli")
    path = settings.database_url.removeprefix("sqlite:///")
    with make_store(settings) as store:
        make_tables(store.database)
        accepted = sum(feed(store, number, personal) for number, personal in enumerate(PERSONAL))
        assert accepted > 5 * len(PERSONAL), "most must arrive, or the test shows nothing"
        kept = everything_at(store, "user:*") + everything_at(store, "stats:*")
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert b"checkoutsStarted" in kept
    assert b"created" in kept
    assert "EVALSHA user:session:" in logged
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables, bodies = database_of(connection)
    assert PERSONAL[0] in bodies, "the session itself keeps it"
    for personal in PERSONAL:
        assert personal.encode() not in kept
        assert personal not in logged
        assert personal not in tables


def feed(store: CheckoutStore, number: int, personal: str) -> int:
    """Make every call with a piece of personal data in every argument; how many were accepted."""
    checkout_id, fields = f"session-{number:04}", {"contactInfo": {"name": personal}, "notes": [personal]}
    other_id = f"another-{number:04}"
    calls: list[Callable[[], object]] = [
        lambda: store.create({"userId": USER}, checkout_id=checkout_id),
        lambda: store.create({"userId": personal, "userEmail": personal, **fields}, checkout_id=other_id),
        lambda: store.create({personal: personal, "userId": USER}),
        lambda: store.create({"paymentStatus": personal, "userId": USER}),
        lambda: store.create({"createdAt": personal}),
        lambda: store.create({"checkoutId": "@" + personal}),
        lambda: store.create({}, checkout_id="@" + personal),
        lambda: store.create({}, require=cast("Durability", personal)),
        lambda: store.update("@" + personal, fields),
        lambda: store.update(checkout_id, {"addressText": personal, **fields}),
        lambda: store.update(checkout_id, lambda _: {personal: personal}),
        lambda: store.update(checkout_id, {"paymentStatus": personal}),
        lambda: store.update(checkout_id, {"databaseOrderId": personal}),
        lambda: store.update(checkout_id, fields, require=cast("Durability", personal)),
        lambda: store.set_payment_status("@" + personal, "paid"),
        lambda: store.set_payment_status(checkout_id, personal),
        lambda: store.set_payment_status(checkout_id, "failed", order_id=personal),
        lambda: store.update(checkout_id, {"userId": personal, "paymentStatus": "pending"}),
        lambda: store.set_payment_status(checkout_id, "paid", order_id=personal),
        lambda: store.set_payment_status(other_id, "failed", require=cast("Durability", personal)),
    ]
    accepted = 0
    for call in calls:
        with contextlib.suppress(CheckoutError, KeyError, ValueError, AttributeError):
            call()
            accepted += 1
    put_raw(store, f"foreign-{number:04}", msgspec.json.encode({"userId": personal, "paymentStatus": personal}))
    with contextlib.suppress(CheckoutError):
        store.update(f"foreign-{number:04}", {"databaseOrderId": personal})
    store.bookkeeping.flush()
    return accepted


def everything_at(store: CheckoutStore, pattern: str) -> bytes:
    found = []
    for key in store.redis.ask(("KEYS", pattern)):
        found += [key, *store.redis.ask(("HGETALL", key))]
    return b"\n".join(found)


def database_of(connection: sqlite3.Connection) -> tuple[str, str]:
    """All tables but the sessions' bodies, and those."""
    connection.row_factory = sqlite3.Row
    others, bodies = [], []
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608  (a name out of the database's own list)
            columns = dict(row)
            bodies += [str(columns.pop(name, "")) for name in ("body", "previous_body", "written", "found_body")]
            others.append(str(columns))
    assert others
    return "\n".join(others), "\n".join(bodies)

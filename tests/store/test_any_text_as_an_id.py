"""Whatever comes as an id, the answer is one of ours: never a driver's, and no server counts as away for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import conflicts_of, starting_with, view_row
from tests.support.stores import ManualClock, make_store, make_tables

IDS: dict[str, Any] = {
    "empty": "",
    "NUL": "session\0001",
    "half a surrogate pair": "session-\ud83d",
    "bytes that are no UTF-8": "session-\udcff",
    "5 MB": "x" * 5_000_000,
    "too long": "x" * 129,
    "new line": "session-0001\n",
    "pattern": "session-*",
    "wildcard": "session_%",
    "no text": None,
    "number": 12345678,
    "fraction": 1.5,
    "bytes": b"session-0001",
    "list": ["session-0001"],
}
SHOPS: dict[str, Callable[[CheckoutStore, Any], Any]] = {
    "get": lambda store, name: store.get(name),
    "update": lambda store, name: store.update(name, {"notes": "x"}),
    "set_payment_status": lambda store, name: store.set_payment_status(name, "completed"),
    "delete": lambda store, name: store.delete(name),
    "inspect": lambda store, name: store.admin.inspect(name),
}
LOOKS: dict[str, Callable[[CheckoutStore, Any], Any]] = {
    "matching": lambda store, name: store.admin.matching(name),
    "row": lambda store, name: view_row(store.database, name),
    "conflicts": lambda store, name: conflicts_of(store.database, name),
    "beginning": lambda store, name: starting_with(store.database, name, 5),
    "read": lambda store, name: store.database.read(name),
    "read_many": lambda store, name: store.database.read_many([name]),
    "present": lambda store, name: store.database.present([name]),
    "deleted_body": lambda store, name: store.database.deleted_body(name),
    "expiries": lambda store, name: store.database.expiries([name], 1),
    "proof": lambda store, name: store.database.proof(name),
    "conflicts_named": lambda store, name: store.flush_log.conflicts_named(name),
    "resolve": lambda store, name: store.flush_log.resolve(name),
}


@pytest.fixture(params=["sqlite", "postgres", "without Redis"])
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[CheckoutStore]:
    if request.param == "postgres":
        settings = replace(settings, database_url=request.getfixturevalue("postgres_url"))
    if request.param == "without Redis":
        settings = replace(settings, enable_checkout_sessions=False)
    with make_store(settings, ManualClock()) as opened:
        make_tables(opened.database)
        yield opened


def test_the_shops_calls_refuse_it_in_a_line(store: CheckoutStore) -> None:
    for name, given in IDS.items():
        for call, use in SHOPS.items():
            with pytest.raises(CheckoutError) as refused:
                use(store, given)
            assert len(str(refused.value)) < 400, (name, call)
            assert not store.database.breaker.is_open, (name, call)
            assert not store.redis.breaker.is_open, (name, call)


def test_no_session_is_created_by_it(store: CheckoutStore) -> None:
    for name, given in IDS.items():
        if given is not None:  # then the store names it
            with pytest.raises(CheckoutError):
                store.create({}, checkout_id=given)
            with pytest.raises(CheckoutError):
                store.create({"checkoutId": given})
        assert not store.database.breaker.is_open, name
    assert store.database.totals().created == 0


def test_looks_find_nothing_by_it(store: CheckoutStore) -> None:
    store.create({}, checkout_id="session-0001")
    for name, given in IDS.items():
        for call, use in LOOKS.items():
            if (name, call) == ("empty", "beginning"):
                continue  # every id begins so
            with suppress(CheckoutError):
                assert not use(store, given), (name, call)
            assert not store.database.breaker.is_open, (name, call)
            assert not store.redis.breaker.is_open, (name, call)

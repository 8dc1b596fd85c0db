"""Sessions with half of a surrogate pair in them, as JavaScript writes it, in every tier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import ID, copy_of, evict, make_tables, put_raw, raw, without_database

MEMBERS = (
    rb'"userId":"ada\ud83d","notes":"cake \ud83d","\udf82":{"k\ud83d":["\uDF82",250.10]},"paymentStatus":"pending"'
)
BODY = b'{"checkoutId":"%s",%s}' % (ID.encode(), MEMBERS)
READ = {
    "userId": "ada\ufffd",
    "notes": "cake \ufffd",
    "\ufffd": {"k\ufffd": ["\ufffd", 250.10]},
    "paymentStatus": "pending",
}


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def store(request: pytest.FixtureRequest, settings: Settings, another: Callable[..., CheckoutStore]) -> CheckoutStore:
    url = settings.database_url if request.param == "SQLite" else request.getfixturevalue("emptied_database")
    opened = another(replace(settings, database_url=url, database_timeout=5.0))
    make_tables(opened.database)
    put_raw(opened, ID, BODY)
    return opened


def has(fields: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return {name: fields.get(name) for name in expected} == expected


def test_it_is_read_and_seen(store: CheckoutStore) -> None:
    assert has(store.get(ID).fields, READ)
    seen = store.admin.inspect(ID)
    assert (seen.problem, seen.session is not None and has(seen.session.fields, READ)) == (None, True)
    assert raw(store, ID) == BODY


def test_writes_keep_its_bytes_in_redis_and_in_the_database(store: CheckoutStore) -> None:
    for changes in ({"count": 1}, lambda present: {**present, "count": 2}):
        written = store.update(ID, changes).session
        assert has(written.fields, READ)
        assert MEMBERS in (raw(store, ID) or b"")
        row = store.database.read(ID)
        assert row is not None
        assert MEMBERS in (row.body or b"")
    evict(store, ID)
    session = store.get(ID)
    assert (session.tier, session.fields["count"], has(session.fields, READ)) == (TierName.DATABASE, 2, True)
    assert MEMBERS in (raw(store, ID) or b"")


def test_writes_while_the_database_is_away_keep_them_too(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.update(ID, {"count": 1})
    alone = another(without_database(store.settings))
    assert has(alone.update(ID, {"count": 2}).session.fields, READ)
    assert MEMBERS in (raw(store, ID) or b"")
    session = store.get(ID)
    assert (session.fields["count"], has(session.fields, READ)) == (2, True)
    row = store.database.read(ID)
    assert row is not None
    assert MEMBERS in (row.body or b"")


def test_it_is_counted_completed_and_its_user_is_not_tracked_by_a_name_that_is_none(store: CheckoutStore) -> None:
    store.update(ID, {"paymentStatus": "paid", "databaseOrderId": "o-1"})
    assert store.database.totals().completed == 1
    assert store.redis.ask(("KEYS", "user:session:*")) == []


def test_nobody_can_give_one_through_us(store: CheckoutStore) -> None:
    for fields in ({"notes": "\ud83d"}, {"\ud83d": 1}, {"items": [{"name": "\udf82"}]}):
        with pytest.raises(InvalidInput, match="half of a surrogate pair"):
            store.create(fields)
        with pytest.raises(InvalidInput, match="half of a surrogate pair"):
            store.update(ID, fields)
    copy = copy_of(store, ID)
    assert copy is not None
    assert copy.body == BODY

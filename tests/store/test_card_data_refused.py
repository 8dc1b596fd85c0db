"""Card data gets into no tier, by no way of writing, and is never repeated."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CardDataRefused, InvalidInput
from checkout_cli.keys import session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.stores import ID, make_store, make_tables

CARD = "4111 1111-1111 1111"
DIGITS = "4111111111111111"


def everything_in(redis: RedisAdmin) -> bytes:
    """All values of all keys, and the keys, as Redis has them."""
    parts = []
    for key in redis.ask(("KEYS", "*")):
        parts += [key, redis.ask(("DUMP", key))]
    return b"\n".join(parts)


def test_a_session_with_card_data_is_not_created(store: CheckoutStore) -> None:
    for fields in ({"items": [{}, {}, {"notes": CARD}]}, {"payment": {"cvv": "987"}}, {"checkoutId": DIGITS}):
        with pytest.raises(CardDataRefused):
            store.create(fields)
    with pytest.raises(CardDataRefused) as caught:
        store.create({}, checkout_id=DIGITS)
    assert caught.value.path == "checkoutId"
    assert store.admin.count().number == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"notes": CARD},
        {"contactInfo": {"name": "Ada", "cardNumber": "x"}},
        {"databaseOrderId": DIGITS},
        {DIGITS: True},
        {"paymentStatus": CARD},
        lambda present: {**present, "notes": CARD},
        lambda present: present["contactInfo"].update(notes=CARD) or present,
    ],
)
def test_no_update_brings_card_data_in(store: CheckoutStore, changes: Any) -> None:
    created = store.create({"contactInfo": {"name": "Ada"}}).session
    with pytest.raises(CardDataRefused) as caught:
        store.update(created.checkout_id, changes)
    assert "1111" not in str(caught.value)
    assert store.get(created.checkout_id).version == created.version


def test_an_order_id_that_is_a_card_number_is_refused(store: CheckoutStore) -> None:
    created = store.create({}).session
    with pytest.raises(CardDataRefused):
        store.set_payment_status(created.checkout_id, "paid", order_id=DIGITS)


def test_card_data_that_another_program_left_is_no_obstacle_to_other_changes(store: CheckoutStore) -> None:
    foreign = {"checkoutId": ID, "cvv": "987", "notes": CARD, "contactInfo": {"pan": "x"}, "paymentStatus": "pending"}
    store.redis.ask(("SET", session_key(ID), json.dumps(foreign).encode(), "EX", 600))
    store.update(ID, {"paymentStatus": "processing"})
    store.update(ID, lambda present: {**present, "paymentAttempts": 1})
    assert store.update(ID, {"cvv": None, "notes": "removed"}).session.fields["notes"] == "removed"
    with pytest.raises(CardDataRefused, match="contactInfo"):
        store.update(ID, {"contactInfo": {"pan": "y"}})


def test_card_data_is_refused_while_redis_or_the_database_is_away(settings: Settings, tmp_path: Path) -> None:
    away = {"redis_port": 1, "timeout": 0.05}
    for changed in (replace(settings, **away), replace(settings, **away, database_url="postgresql://127.0.0.1:1/x")):
        with make_store(changed) as store:
            if changed.database_url == settings.database_url:
                make_tables(store.database)
            with pytest.raises(CardDataRefused):
                store.create({"notes": CARD})


def test_the_number_is_in_no_tier_no_log_and_no_error(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with make_store(settings) as store:
        make_tables(store.database)
        created = store.create({"contactInfo": {"name": "Ada"}}).session.checkout_id
        said = []
        for attempt in (
            lambda: store.create({"notes": CARD}),
            lambda: store.create({}, checkout_id=DIGITS),
            lambda: store.create({}, checkout_id=CARD),
            lambda: store.update(created, {"notes": DIGITS}),
            lambda: store.update(CARD, {"notes": "x"}),
            lambda: store.update(created, {CARD: 1}),
            lambda: store.set_payment_status(created, DIGITS),
            lambda: store.update(created, {int(DIGITS): 1}),  # type: ignore[dict-item]
        ):
            with pytest.raises(InvalidInput) as caught:
                attempt()
            said.append(f"{caught.value} {caught.value.hint} {caught.value!r}")
        kept = everything_in(store.redis)
    files = b"".join(path.read_bytes() for path in tmp_path.glob("checkout.db*"))
    assert b"Ada" in kept
    assert b"Ada" in files
    for place in (kept.decode("latin-1"), files.decode("latin-1"), caplog.text, *said):
        assert CARD not in place
        assert DIGITS not in place

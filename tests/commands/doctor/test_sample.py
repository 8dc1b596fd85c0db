"""What the checks of the data look at: nothing of a small server is missed, no kind of key always comes first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from checkout_cli.checks import Finding, Status
from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.doctor import sample
from checkout_cli.commands.sync.sync import synchronize
from checkout_cli.session import iso, milliseconds_of
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import decode, encode_value
from tests.support.cluster import Cluster
from tests.support.doctoring import finding

CARD = "4111 1111 1111 1111"

Look = Callable[[str], Finding]


@pytest.fixture
def look(store: CheckoutStore, tmp_path: Path) -> Look:
    """What a check finds on the test's own servers, which have a few sessions."""
    for number in range(5):
        store.create({"userId": f"user-{number}"}, checkout_id=f"session-{number:04}")
    clean_up(store)
    return lambda name: finding(store.settings, name, tmp_path)


def fill(store: CheckoutStore, prefix: str, number: int, value: str = "{}", first: int = 1) -> None:
    """Sessions of another program, each ending a minute after the one before."""
    keys = [f"checkout:session:{prefix}-{place:06}" for place in range(first, first + number)]
    for place, key in enumerate(keys, start=1):
        store.redis.ask(("SET", key, value, "PX", 1_000_000 + place * 60))


# The sample


def test_every_key_of_a_server_that_has_few_is_looked_at(look: Look, store: CheckoutStore) -> None:
    fill(store, "another", 1500)
    store.redis.ask(("PERSIST", "checkout:session:another-000700"))
    found = look("session-ttl")
    assert (found.numbers["sampled"], found.numbers["withoutTtl"]) == (1505, 1)


def test_of_a_server_that_has_many_about_two_thousand_keys_are_looked_at(
    look: Look, store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, "another", 1500)
    monkeypatch.setattr(sample, "KEYS", 500)
    assert 200 < look("session-ttl").numbers["sampled"] < 1000


def test_values_are_read_of_all_kinds_of_ids_and_not_of_the_first_in_the_alphabet(
    look: Look, store: CheckoutStore
) -> None:
    fill(store, "aaaa", 300)
    fill(store, "zzzz", 100, "not json")
    found = look("payload")
    assert found.status is Status.CRIT
    assert 10 < found.numbers["corrupt"] < 100


def test_card_data_is_looked_for_in_all_kinds_of_ids(look: Look, store: CheckoutStore) -> None:
    fill(store, "aaaa", 300)
    fill(store, "zzzz", 100, json.dumps({"cvv": "123"}))
    assert look("card-data").status is Status.CRIT


def test_sessions_of_every_server_of_a_cluster_are_read(store: CheckoutStore, tmp_path: Path, cluster: Cluster) -> None:
    settings = replace(store.settings, redis_port=cluster.primaries[0].port, redis_mode="cluster", timeout=2)
    with CheckoutStore.open(settings) as clustered:
        fill(clustered, "another", 900)
        for server in clustered.redis.servers():
            keys = server.ask(("SCAN", 0, "COUNT", 1000))[1]
            for key in keys:
                server.ask(("SET", key, "not json", "KEEPTTL"))
            assert finding(settings, "payload", tmp_path).status is Status.CRIT, server.place
            for key in keys:
                server.ask(("SET", key, "{}", "KEEPTTL"))
        assert finding(settings, "payload", tmp_path).status is Status.OK


def test_the_values_that_are_read_fit_into_a_little_memory(look: Look, store: CheckoutStore) -> None:
    large = json.dumps({"x": "y" * 700_000})
    fill(store, "large", 40, large)
    before = _sent(store)
    found = look("payload")
    assert (found.status, found.numbers["large"]) == (Status.WARN, 40)
    assert _sent(store) - before < len(large)
    fill(store, "large", 40, json.dumps({"x": "y" * 250_000}))
    before = _sent(store)
    look("payload")
    assert 1_000_000 < _sent(store) - before < sample.MOST_BYTES + 1_000_000


def _sent(store: CheckoutStore) -> int:
    info = store.redis.ask(("INFO", "stats")).decode()
    return int(next(line for line in info.splitlines() if line.startswith("total_net_output_bytes:")).split(":")[1])


# What is made of it


def test_sessions_that_end_together_are_told_wherever_their_ten_seconds_begin(look: Look, store: CheckoutStore) -> None:
    fill(store, "another", 200)
    for number in range(1, 201):
        ttl = 500_000 + number * 60_000 if number > 50 else 598_000 + (number % 2) * 4_500
        store.redis.ask(("PEXPIRE", f"checkout:session:another-{number:06}", ttl))
    found = look("stampede")
    assert (found.status, found.numbers["share"]) == (Status.WARN, pytest.approx(0.25, abs=0.02))


@pytest.mark.parametrize(("age", "status"), [(0, Status.OK), (50_000, Status.OK), (70_000, Status.WARN)])
def test_a_write_may_wait_for_the_database_for_a_minute(
    look: Look, store: CheckoutStore, age: int, status: Status
) -> None:
    careless = replace(store.settings, durability="redis")
    with CheckoutStore.open(careless) as fast:
        fast.create({}, checkout_id="fast-session")
        fast.own.forget_all()  # it ends without flushing
    key = "checkout:session:fast-session"
    value = store.redis.ask(("GET", key))
    copy = decode(value)
    assert copy.is_dirty
    ended = json.loads(copy.body)["expiresAt"]
    body = copy.body.replace(ended.encode(), iso((milliseconds_of(ended) or 0) - age).encode())
    older = msgspec.structs.replace(copy, body=body)
    store.redis.ask(("SET", key, encode_value(older), "KEEPTTL"))
    found = look("pending")
    assert (found.status, found.numbers["toDatabase"]) == (status, 1)


def _move_on(store: CheckoutStore) -> None:
    """Let the database have newer versions, as if Redis were known to have them."""
    with store.database.transaction() as connection:
        connection.execute(text("UPDATE checkoutctl_sessions SET version = version + 1"))
        connection.execute(text("UPDATE checkoutctl_sessions SET published_version = version"))


def test_the_fix_of_drift_mends_it_where_a_sync_does_not(look: Look, store: CheckoutStore) -> None:
    _move_on(store)
    found = look("drift")
    assert (found.status, found.numbers["older"]) == (Status.WARN, 5)
    assert "session-…" in found.evidence
    synchronize(store)
    assert look("drift").status is Status.WARN
    for number in range(5):
        store.redis.ask(("DEL", f"checkout:session:session-{number:04}"))
        store.get(f"session-{number:04}")
    assert look("drift").status is Status.OK


def test_copies_of_another_server_are_no_drift_because_nobody_trusts_them(look: Look, store: CheckoutStore) -> None:
    _move_on(store)
    for number in range(5):
        key = f"checkout:session:session-{number:04}"
        elsewhere = msgspec.structs.replace(decode(store.redis.ask(("GET", key))), identity=b"another:server")
        store.redis.ask(("SET", key, encode_value(elsewhere), "KEEPTTL"))
    assert look("drift").status is Status.OK
    assert store.get("session-0001").version == 2


# What must not be stored


@pytest.mark.parametrize("key", ["checkout:shopper@shop.example", "stats:shopper@shop.example"])
def test_an_address_is_not_repeated_wherever_it_stands_in_a_name(look: Look, store: CheckoutStore, key: str) -> None:
    store.redis.ask(("SET", key, "{}"))
    found = look("key-names")
    assert (found.status, found.numbers["found"]) == (Status.WARN, 1)
    assert "shopper" not in str(found)


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("user:session:9876543210", Status.WARN),
        ("checkout:session:09876543210", Status.WARN),
        ("user:session:1234567890", Status.OK),
        ("user:session:order-9876543210", Status.OK),
        ("delivery:cache:1.00:9876543210", Status.OK),
    ],
)
def test_a_local_phone_number_as_an_id_is_told(look: Look, store: CheckoutStore, key: str, status: Status) -> None:
    store.redis.ask(("SET", key, "{}"))
    assert look("key-names").status is status


@pytest.mark.parametrize("value", [f"card {CARD}", json.dumps([CARD]), json.dumps(CARD), "4111111111111111"])
def test_card_data_is_found_in_values_that_are_no_objects(look: Look, store: CheckoutStore, value: str) -> None:
    store.redis.ask(("SET", "coupon:cache:SAVE10", value))
    found = look("card-data")
    assert (found.status, found.numbers["values"]) == (Status.CRIT, 1)
    assert "4111" not in str(found)


def test_the_path_of_card_data_does_not_repeat_names_that_may_be_personal(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("SET", "coupon:cache:SAVE10", json.dumps({"shopper@shop.example": {"cvv": "123"}})))
    found = look("card-data")
    assert (found.status, found.numbers["values"]) == (Status.CRIT, 1)
    assert "shopper" not in str(found)

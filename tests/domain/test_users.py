from __future__ import annotations

from dataclasses import replace

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.domain.users import Oddity, User, Users
from checkout_cli.errors import AccessDenied, RedisUnavailable
from checkout_cli.keys import user_key
from checkout_cli.session import PaymentStatus
from checkout_cli.store.bookkeeping import USER_FIELDS
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import encoded
from tests.support.servers import ValkeyServer
from tests.support.stores import make_store

SEEN = "2026-11-23T00:10:00.000Z"


def track(store: CheckoutStore, user_id: str, *values: object, ttl: int = 60_000) -> None:
    """A user as the store keeps one, in the order of ``USER_FIELDS``."""
    pairs = [str(part) for pair in zip(USER_FIELDS, values, strict=False) if pair[1] is not None for part in pair]
    store.redis.ask(("HSET", encoded(user_key(user_id)), *pairs))
    store.redis.ask(("PEXPIRE", encoded(user_key(user_id)), ttl))


def all_users(store: CheckoutStore, step: int = 10) -> dict[str, User]:
    found: dict[str, User] = {}
    cursor: str | None = "0"
    while cursor is not None:
        page = Users(store).page(cursor, step)
        found |= {user.user_id: user for user in page.users}
        cursor = page.cursor
    return found


def test_a_user_is_read_as_the_store_writes_one(store: CheckoutStore) -> None:
    created = store.create({"userId": "user:7:eu", "contactInfo": {"name": "Ada"}}).session
    store.set_payment_status(created.checkout_id, "paid", order_id="O-1")
    store.create({"userId": "user:7:eu"})
    store.bookkeeping.flush()
    user = Users(store).get("user:7:eu")
    assert user is not None
    assert (user.checkouts_started, user.checkouts_completed, user.checkouts_failed) == (2, 1, 0)
    assert user.last_status is PaymentStatus.PENDING
    assert user.first_seen is not None
    assert user.last_seen is not None
    assert user.first_seen <= user.last_seen
    assert user.expires_in is not None
    assert 0 < user.expires_in <= store.settings.user_ttl * 1000
    assert user.problem is None


def test_who_was_never_seen_is_not_there(store: CheckoutStore) -> None:
    assert Users(store).get("user-1") is None
    assert all_users(store) == {}


def test_pages_hold_every_user_and_nothing_else(store: CheckoutStore) -> None:
    for number in range(200):
        track(store, f"user-{number}", SEEN, SEEN, 1, 0, 0, "pending")
        store.redis.ask(("SET", f"checkout:session:{number}", "{}"))
    assert set(all_users(store)) == {f"user-{number}" for number in range(200)}
    assert len(Users(store).page(step=10).users) < 200  # bounded


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        (("SET", "{}"), "a string, not a hash"),
        (("LPUSH", "x"), "a list, not a hash"),
        (("SADD", "x"), "a set, not a hash"),
    ],
)
def test_another_type_is_named_and_not_shown(store: CheckoutStore, command: tuple[str, str], detail: str) -> None:
    track(store, "user-1", SEEN, SEEN, 1)
    store.redis.ask((command[0], user_key("user-2"), command[1]))
    found = all_users(store)
    assert found["user-2"] == User("user-2", problem=Oddity.WRONG_TYPE, detail=detail)
    assert found["user-1"].problem is None


def test_the_fields_of_another_program_are_never_read(store: CheckoutStore) -> None:
    store.redis.ask(("HSET", user_key("user-1"), "email", "ada@example.com"))
    store.redis.ask(("HSET", user_key("user-2"), "email", "ada@example.com", "firstSeen", SEEN))
    found = all_users(store)
    assert found["user-1"].problem is Oddity.FOREIGN
    assert found["user-2"].problem is None
    assert "ada" not in repr(found)


@pytest.mark.parametrize("field", USER_FIELDS)
@pytest.mark.parametrize("value", ["Ada Lovelace", "", "-1", "1e3", "9" * 40, b"\xff\x1b[31m", "x" * 100_000])
def test_a_value_that_is_not_ours_is_named_and_not_shown(store: CheckoutStore, field: str, value: str | bytes) -> None:
    track(store, "user-1", SEEN, SEEN, 3, 2, 1, "paid")
    store.redis.ask(("HSET", user_key("user-1"), field, value))
    user = Users(store).get("user-1")
    assert user is not None
    assert (user.problem, user.detail) == (Oddity.UNREADABLE, field)
    assert len(value) < 3 or str(value) not in repr(user)
    assert sum(part is None for part in (user.first_seen, user.last_seen, user.checkouts_started,
        user.checkouts_completed, user.checkouts_failed, user.last_status)) == 1  # fmt: skip


def test_a_moment_is_shown_in_our_own_form_whoever_wrote_it(store: CheckoutStore) -> None:
    track(store, "user-1", "2026-11-23T01:10:00+01:00", SEEN, 1)
    user = Users(store).get("user-1")
    assert user is not None
    assert user.first_seen == SEEN


def test_ids_of_any_bytes_and_patterns_are_found_exactly(store: CheckoutStore) -> None:
    for user_id in ("a*b", "a?b", "axb", "[a]x", "a\\b", "\udcff\udcfe", "a:b:c"):
        track(store, user_id, SEEN, SEEN, 1)
    assert len(all_users(store)) == 7
    assert Users(store).matching("a*", 9, 10) == (["a*b"], True)
    assert Users(store).matching("[a", 9, 10) == (["[a]x"], True)
    assert Users(store).matching("a\\", 9, 10) == (["a\\b"], True)
    assert Users(store).matching("\udcff", 9, 10) == (["\udcff\udcfe"], True)


def test_what_begins_alike_is_found_up_to_a_limit_and_says_whether_that_was_all(store: CheckoutStore) -> None:
    for number in range(30):
        track(store, f"user-{number:02}", SEEN, SEEN, 1)
    names, complete = Users(store).matching("user-1", 50, 10)
    assert (sorted(names), complete) == ([f"user-1{number}" for number in range(10)], True)
    names, complete = Users(store).matching("user-", 2, 10)
    assert (len(names), complete) == (2, False)
    assert Users(store).matching("user-", 2, 0) == ([], False)


def test_looking_extends_nothing(store: CheckoutStore) -> None:
    track(store, "user-1", SEEN, SEEN, 1, ttl=5_000)
    before = store.redis.ask(("PEXPIRETIME", user_key("user-1")))
    all_users(store)
    Users(store).get("user-1")
    assert store.redis.ask(("PEXPIRETIME", user_key("user-1"))) == before


def test_while_redis_is_away_it_says_so(settings: Settings) -> None:
    with make_store(replace(settings, redis_port=1)) as store, pytest.raises(RedisUnavailable):
        Users(store).page()


def test_a_missing_permission_is_told_and_is_no_empty_answer(settings: Settings, valkey: ValkeyServer) -> None:
    valkey.client().execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@all", "-hmget")
    try:
        with make_store(replace(settings, redis_username="reader", redis_password="pw")) as store:
            store.redis.ask(("HSET", user_key("user-1"), "firstSeen", SEEN))
            with pytest.raises(AccessDenied):
                Users(store).page()
    finally:
        valkey.client().execute_command("ACL", "DELUSER", "reader")

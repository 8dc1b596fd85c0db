"""What other programs keep under the names of our notes is of any size, and never fetched whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.domain.users import Users
from checkout_cli.errors import Locked
from checkout_cli.jobs.heartbeat import last_beat
from checkout_cli.jobs.job_lock import CLEANUP, job_lock
from checkout_cli.keys import LEGACY_STATS, heartbeat_key, lock_key, user_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.copies import read_hashes

LARGE = 70 * 2**20
"""More bytes than an exchange may bring."""


def test_a_heartbeat_is_none(store: CheckoutStore) -> None:
    store.redis.ask(("SET", heartbeat_key(CLEANUP), b"x" * LARGE))
    assert last_beat(store, CLEANUP) is None
    assert clean_up(store).finished


def test_a_lock_is_held_by_somebody(store: CheckoutStore) -> None:
    store.redis.ask(("SET", lock_key(CLEANUP), b"x" * LARGE))
    with pytest.raises(Locked, match="locked by another program"), job_lock(store, CLEANUP, "we"):
        pass
    assert store.redis.lock_state(CLEANUP)[0] == -1


def test_counters_are_numbers_or_unknown(store: CheckoutStore) -> None:
    store.redis.ask(("HSET", LEGACY_STATS, "totalCreated", "7", "totalFailed", "9" * 5000, "lastCleanup", "x"))
    assert store.redis.legacy_statistics() == {"totalCreated": 7}
    store.redis.ask(("HSET", LEGACY_STATS, "notes", b"x" * LARGE))
    assert store.redis.legacy_statistics() == {}


def test_a_user_among_others(store: CheckoutStore) -> None:
    store.redis.ask(("HSET", user_key("user-1"), "lastStatus", "paid"))
    store.redis.ask(("HSET", user_key("user-2"), "lastStatus", b"x" * LARGE))
    found = {user.user_id: user.problem is None for user in Users(store).page().users}
    assert found == {"user-1": True, "user-2": False}
    keys = [user_key(name).encode() for name in ("user-1", "user-2", "nobody")]
    assert [copy.key for copy in read_hashes(store.redis, keys)] == keys[:1]
    assert store.redis.field_names(keys)[0] == [b"lastStatus"]


def test_a_server_that_measures_nothing_is_asked_all_the_same(store: CheckoutStore) -> None:
    store.redis.ask(("HSET", user_key("user-1"), "lastStatus", "paid"))
    store.redis.ask(("ACL", "SETUSER", "unmeasured", "on", ">secret", "~*", "+@all", "-memory"))
    try:
        settings = replace(store.settings, redis_username="unmeasured", redis_password="secret")
        with CheckoutStore.open(settings) as denied:
            assert denied.redis.hashes([user_key("user-1")]) == [[b"lastStatus", b"paid"]]
    finally:
        store.redis.ask(("ACL", "DELUSER", "unmeasured"))

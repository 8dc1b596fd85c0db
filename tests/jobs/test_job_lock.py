from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, Locked
from checkout_cli.jobs.job_lock import TIME_TO_LIVE, job_lock, new_owner
from checkout_cli.keys import lock_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import database_away, make_store, make_tables, redis_away, wait_until, without_redis

JOB = "cleanup"


@pytest.fixture(params=["Redis", "SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Where the lock lies: in Redis, or in the database where Redis is away."""
    if request.param == "PostgreSQL":
        settings = replace(settings, database_url=request.getfixturevalue("postgres_url"))
    return settings if request.param == "Redis" else without_redis(settings)


@pytest.fixture
def another(place: Settings) -> Iterator[Callable[[], CheckoutStore]]:
    stores: list[CheckoutStore] = []

    def make() -> CheckoutStore:
        stores.append(make_store(place))
        return stores[-1]

    make_tables(make().database)
    yield make
    for store in stores:
        store.close()


@contextmanager
def locked_by(owner: str) -> Iterator[None]:
    with pytest.raises(Locked) as refusal:
        yield
    assert str(refusal.value) == f"skipped: locked by {owner}"
    assert refusal.value.hint == "checkoutctl doctor --only job-locks"


def test_one_has_it_at_a_time(another: Callable[[], CheckoutStore]) -> None:
    first, second = another(), another()
    with job_lock(first, JOB, "first"):
        with locked_by("first"), job_lock(second, JOB, "second"):
            pass
        with job_lock(second, "another-job", "second"):
            pass
    with job_lock(second, JOB, "second") as lock:
        assert lock.still_held()


def test_it_is_given_back_after_a_failure(another: Callable[[], CheckoutStore]) -> None:
    with pytest.raises(RuntimeError), job_lock(another(), JOB, "first"):
        raise RuntimeError
    with job_lock(another(), JOB, "second"):
        pass


def test_who_lost_it_is_told_and_does_not_take_it_from_the_next(another: Callable[[], CheckoutStore]) -> None:
    first, second = another(), another()
    with job_lock(first, JOB, "first") as lost:
        lost.release()
        with job_lock(second, JOB, "second") as lock:
            assert not lost.still_held()
            lost.release()
            assert lock.still_held()


def test_an_owner_is_told_apart_from_every_other() -> None:
    owner = new_owner()
    assert re.fullmatch(rf".+:{os.getpid()}:[0-9a-f]{{8}}", owner)
    assert owner != new_owner()


# In Redis


@pytest.fixture
def store(settings: Settings) -> Iterator[CheckoutStore]:
    with make_store(settings) as opened:
        make_tables(opened.database)
        yield opened


def test_a_job_that_died_blocks_the_next_for_its_time_to_live_only(store: CheckoutStore) -> None:
    assert store.redis.lock(JOB, "dead", 100) is None
    wait_until(lambda: store.redis.lock(JOB, "next", TIME_TO_LIVE) is None)


def test_a_sign_of_life_extends_it(store: CheckoutStore) -> None:
    with job_lock(store, JOB, "first") as lock:
        store.redis.ask(("PEXPIRE", lock_key(JOB), 1000))
        assert lock.still_held()
        assert store.redis.ask(("PTTL", lock_key(JOB))) > 1000


def test_a_job_that_died_without_redis_blocks_the_next_for_its_time_to_live_only(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.redis, "lock", redis_away)
    monkeypatch.setattr(store.database, "now", lambda: 1_000_000)
    with job_lock(store, JOB, "dead"):
        monkeypatch.setattr(store.database, "unlock", database_away)
    monkeypatch.setattr(store.database, "now", lambda: 1_000_000 + TIME_TO_LIVE - 1)
    with locked_by("dead"), job_lock(store, JOB, "next"):
        pass
    monkeypatch.setattr(store.database, "now", lambda: 1_000_000 + TIME_TO_LIVE)
    with job_lock(store, JOB, "next"):
        pass


def test_without_any_tier_there_is_no_lock(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.redis, "lock", redis_away)
    monkeypatch.setattr(store.database, "now", database_away)
    with pytest.raises(DatabaseUnavailable), job_lock(store, JOB, "first"):
        pass


def test_a_server_that_goes_away_while_the_job_runs_does_not_fail_the_job(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with job_lock(store, JOB, "first"):
        monkeypatch.setattr(store.redis, "unlock", redis_away)


def test_where_sessions_are_not_kept_in_redis_neither_is_the_lock(settings: Settings, monkeypatch: Any) -> None:
    with make_store(replace(settings, enable_checkout_sessions=False)) as store:
        make_tables(store.database)
        monkeypatch.setattr(store.redis, "exchange", redis_away)
        with job_lock(store, JOB, "first") as lock:
            assert lock.still_held()


@pytest.mark.parametrize("holder", ["jane@example.org", "Jane Doe", "+4917055501177", "\x1b[2J", "x" * 301])
def test_a_holder_that_is_a_strangers_text_is_not_repeated(holder: str, store: CheckoutStore) -> None:
    store.redis.lock("job", holder, 60_000)
    with pytest.raises(Locked) as caught, job_lock(store, "job", "host:1:00000000"):
        raise AssertionError("it is held")
    assert str(caught.value) == "skipped: locked by another program"

"""Negative controls: each mechanism of the protocol switched off, and the violation that it prevents is seen.

A scenario asserts a promise with the judge that the fault tests have too. It passes with the whole protocol, and fails
without the mechanism, with the line that the table gives. The fence, which needs Sentinel, has its control elsewhere.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from checkout_cli.errors import DatabaseUnavailable, SessionNotFound
from checkout_cli.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.faults.harness import Shop, trusted_again
from tests.servers import ValkeyServer
from tests.store.support import (
    ID,
    ManualClock,
    database_away,
    evict,
    foreign_session,
    put_raw,
    raw,
    redis_away,
    save,
)
from tests.store.without import MECHANISMS


@dataclass
class Place:
    """A server of our own, three processes of a shop, and what they were told."""

    server: ValkeyServer
    clock: ManualClock
    shop: Shop
    a: CheckoutStore
    b: CheckoutStore
    c: CheckoutStore

    @property
    def stores(self) -> tuple[CheckoutStore, ...]:
        return self.a, self.b, self.c

    def write_down(self) -> None:
        """Let everybody note what was published, so that no row is pending any more."""
        for store in self.stores:
            store.hand_over.write_down()

    def restart(self) -> None:
        """Kill Redis and start it again with its last snapshot."""
        self.server.kill()
        self.server.start()

    def update_unpublished(self, store: CheckoutStore) -> None:
        """A write whose publish fails."""
        with replaced(store.redis, "publish", redis_away):
            assert not self.shop.update(store).published


@contextmanager
def replaced(target: Any, name: str, stand_in: Any) -> Iterator[None]:
    """A method replaced for a while."""
    original = getattr(target, name)
    setattr(target, name, stand_in)
    try:
        yield
    finally:
        setattr(target, name, original)


def meanwhile(target: Any, name: str, work: Callable[[], object], *, after: bool = False) -> None:
    """Do some work just before, or just after, the next call of a method."""
    original = getattr(target, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        setattr(target, name, original)
        if not after:
            work()
        result = original(*arguments, **options)
        if after:
            work()
        return result

    setattr(target, name, interrupted)


# The scenarios


def two_write_at_once(place: Place) -> None:
    place.shop.create(place.a)
    meanwhile(place.a.database, "update", lambda: place.shop.update(place.b))
    place.shop.update(place.a)
    place.shop.check()


def a_snapshot_comes_back(place: Place) -> None:
    place.shop.create(place.a)
    save(place.server)
    place.shop.update(place.a)
    place.write_down()
    place.restart()
    place.clock.advance(10)
    place.shop.get(place.b)


def a_restart_between_a_commit_and_its_publish(place: Place) -> None:
    place.shop.create(place.a)
    save(place.server)

    def newer_write_and_restart() -> None:
        place.shop.update(place.b)
        place.restart()

    meanwhile(place.a.redis, "publish", newer_write_and_restart)
    place.shop.update(place.a)
    place.write_down()
    place.clock.advance(10)
    place.shop.get(place.c)


def a_publish_fails_and_others_read(place: Place) -> None:
    place.shop.create(place.a)
    place.write_down()
    place.shop.get(place.b)
    place.update_unpublished(place.a)
    place.clock.advance(place.shop.settings.trust + 0.1)
    place.shop.get(place.b)


def a_look_takes_longer_than_the_lease(place: Place) -> None:
    place.shop.create(place.a)
    place.write_down()

    def unseen_write() -> None:
        place.update_unpublished(place.a)
        place.clock.advance(place.shop.settings.trust + 0.1)

    meanwhile(place.b.database, "pending", unseen_write, after=True)
    place.shop.get(place.b)
    place.shop.get(place.b)


def a_publish_comes_late_to_an_evicted_key(place: Place) -> None:
    place.shop.create(place.a)

    def newer_write_and_eviction() -> None:
        place.shop.update(place.b)
        evict(place.b, ID)

    meanwhile(place.a.redis, "publish", newer_write_and_eviction)
    place.shop.update(place.a)
    place.write_down()
    place.shop.get(place.c)


def a_filler_comes_late_to_anothers_marker(place: Place) -> None:
    place.shop.create(place.a)
    place.shop.get(place.a)
    evict(place.a, ID)

    def newer_write_eviction_and_another_filler() -> None:
        place.shop.update(place.a)
        evict(place.a, ID)
        place.c.redis.open(ID)

    meanwhile(place.b.redis, "publish", newer_write_eviction_and_another_filler)
    place.shop.get(place.b)
    place.write_down()
    place.shop.get(place.a)


def a_publish_fails_and_its_process_reads(place: Place) -> None:
    place.shop.create(place.a)
    place.shop.get(place.a)
    place.update_unpublished(place.a)
    place.shop.get(place.a)


def a_current_snapshot_comes_back(place: Place) -> None:
    place.shop.create(place.a)
    place.write_down()
    save(place.server)
    place.restart()
    place.clock.advance(10)
    assert trusted_again(place.shop, place.a), "an unchanged session is never trusted again"


def another_program_writes_a_deleted_session(place: Place) -> None:
    place.shop.create(place.a)
    place.shop.delete(place.a)
    put_raw(place.a, ID, foreign_session(place.clock))
    with contextlib.suppress(SessionNotFound):
        place.shop.get(place.b)


def a_drained_value_comes_back(place: Place) -> None:
    place.shop.create(place.a)
    with replaced(place.a.database, "update", database_away):
        place.shop.update(place.a)
    value = raw(place.a, ID)
    assert value is not None
    with replaced(place.b.redis_alone, "_take_out", lambda *_: None):
        place.b.redis_alone.drain(ID, value)
    place.shop.update(place.c)
    put_raw(place.a, ID, value)
    place.shop.get(place.b)
    assert place.c.drain_log.conflict_count() == 0, "a write is in conflict with itself"


def the_answer_to_a_commit_is_lost(place: Place) -> None:
    place.shop.create(place.a)
    transaction = place.a.database.transaction

    @contextmanager
    def without_answer() -> Iterator[Any]:
        place.a.database.transaction = transaction  # type: ignore[method-assign]
        with transaction() as connection:
            yield connection
        raise DatabaseUnavailable("the answer to COMMIT is lost, the test says")

    place.a.database.transaction = without_answer  # type: ignore[method-assign]
    place.shop.update(place.a)
    place.clock.advance(10)
    place.shop.get(place.b)
    assert place.b.drain_log.conflict_count() == 0, "a write is in conflict with itself"


CONTROLS: dict[str, tuple[Callable[[Place], None], str]] = {
    "version check": (two_write_at_once, "acknowledged writes are lost: ['mark3']"),
    "stamp": (a_snapshot_comes_back, "a stale read from redis: it lacks ['mark2']"),
    "moment of the stamp": (a_restart_between_a_commit_and_its_publish, "a stale read from redis: it lacks ['mark3']"),
    "lease": (a_publish_fails_and_others_read, "a stale read from redis: it lacks ['mark2']"),
    "moment of the lease": (a_look_takes_longer_than_the_lease, "a stale read from redis: it lacks ['mark2']"),
    "publish rules": (a_publish_comes_late_to_an_evicted_key, "a stale read from redis: it lacks ['mark3']"),
    "fill marker": (a_filler_comes_late_to_anothers_marker, "a stale read from redis: it lacks ['mark2']"),
    "own distrust": (a_publish_fails_and_its_process_reads, "a stale read from redis: it lacks ['mark2']"),
    "restamping": (a_current_snapshot_comes_back, "an unchanged session is never trusted again"),
    "tombstone": (another_program_writes_a_deleted_session, "a deleted session was read"),
    "drain log": (a_drained_value_comes_back, "a write is in conflict with itself"),
    "write id": (the_answer_to_a_commit_is_lost, "a write is in conflict with itself"),
}


@pytest.fixture
def place(valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock) -> Iterator[Place]:
    server = valkey_server()
    shop = Shop(replace(settings, redis_port=server.port), clock)
    shop.process().database.create_schema()
    yield Place(server, clock, shop, shop.process(), shop.process(), shop.process())
    shop.close()


def test_each_mechanism_has_its_control() -> None:
    assert CONTROLS.keys() == MECHANISMS.keys()


@pytest.mark.parametrize("mechanism", CONTROLS)
def test_with_the_whole_protocol_the_promise_holds(place: Place, mechanism: str) -> None:
    scenario, _ = CONTROLS[mechanism]
    scenario(place)


@pytest.mark.parametrize("mechanism", CONTROLS)
def test_without_a_mechanism_the_violation_is_seen(
    place: Place, mechanism: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    for store in place.stores:
        MECHANISMS[mechanism](store, monkeypatch.setattr)
    scenario, line = CONTROLS[mechanism]
    with pytest.raises(AssertionError, match=re.escape(line)) as violation:
        scenario(place)
    record_property("violation", str(violation.value).splitlines()[0])

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

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, SessionNotFound
from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import decode
from tests.faults.harness import Shop, trusted_again
from tests.store.without import MECHANISMS
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ID,
    ManualClock,
    database_away,
    evict,
    external_write,
    flush_all,
    foreign_session,
    look_around,
    make_tables,
    put_raw,
    raw,
    redis_away,
    row_of,
    save,
)


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
            store.notes.write_down()

    def restart(self) -> None:
        """Kill Redis and start it again with its last snapshot."""
        self.server.kill()
        self.server.start()

    def external_update(self, **fields: Any) -> None:
        """A write of another program, on top of what lies there."""
        mark = self.shop.new_mark("theirs")
        external_write(self.a, {mark: 1, **fields})
        self.shop.note_external(mark)

    def write_dirty(self) -> bytes:
        """A session of version 1, and a write on top of it that Redis alone has; its bytes."""
        self.shop.create(self.a)
        with replaced(self.a.database, "update", database_away):
            assert self.shop.update(self.a).durability is Durability.REDIS
        value = raw(self.a, ID)
        assert value is not None
        return value

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

    meanwhile(place.b.database, "look", unseen_write, after=True)
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


def a_filler_comes_late_to_a_key_that_has_gone_again(place: Place) -> None:
    place.shop.create(place.a)
    evict(place.a, ID)

    def newer_write_and_eviction() -> None:
        place.shop.update(place.a)
        place.shop.get(place.a)
        evict(place.a, ID)

    meanwhile(place.b.redis, "publish", newer_write_and_eviction)
    place.shop.get(place.b)
    place.write_down()
    place.shop.get(place.c)


def a_filler_stalls_while_a_newer_version_is_written(place: Place) -> None:
    place.shop.create(place.a)
    evict(place.a, ID)
    meanwhile(place.b.redis, "publish", lambda: place.shop.update(place.a))
    place.shop.get(place.b)
    place.write_down()
    place.shop.get(place.c)


def a_publish_comes_late_to_a_newer_version(place: Place) -> None:
    place.shop.create(place.a)
    meanwhile(place.a.redis, "publish", lambda: place.shop.update(place.b))
    place.shop.update(place.a)
    place.write_down()
    place.shop.get(place.c)


def a_key_is_filled_with_an_old_version_before_the_new_one_is_published(place: Place) -> None:
    place.shop.create(place.a)
    old = row_of(place.a)
    evict(place.a, ID)
    filler = place.b.redis.open(ID)
    assert filler.token
    meanwhile(place.a.redis, "publish", lambda: place.b.redis.publish(old, filler, place.clock.milliseconds))
    place.shop.update(place.a)
    place.write_down()
    place.shop.get(place.c)


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


def an_external_writer_writes_a_deleted_session(place: Place) -> None:
    place.shop.create(place.a)
    place.shop.delete(place.a)
    put_raw(place.a, ID, foreign_session(place.clock))
    with contextlib.suppress(SessionNotFound):
        place.shop.get(place.b)


def a_flushed_value_comes_back(place: Place) -> None:
    place.write_dirty()
    save(place.server)
    place.shop.get(place.b)
    flush_all(place.b)
    place.shop.update(place.c)
    place.restart()
    place.clock.advance(10)
    place.shop.get(place.b)
    assert place.c.flush_log.conflict_count() == 0, "a write is in conflict with itself"


def a_dirty_value_meets_a_row_that_it_did_not_grow_from(place: Place) -> None:
    place.write_dirty()
    with replaced(place.b.redis, "open", redis_away):
        place.shop.update(place.b)
    place.clock.advance(10)
    place.shop.get(place.c)
    flush_all(place.c)
    place.shop.check()


def a_row_is_published_over_what_only_redis_has(place: Place) -> None:
    value = decode(place.write_dirty())
    with replaced(place.b.redis, "open", redis_away):
        place.shop.update(place.b)
    place.clock.advance(10)
    look_around(place.c)
    kept = [row_of(place.c).body or b"", *(conflict.written for conflict in place.c.flush_log.conflicts(10))]
    assert any(b'"mark2"' in each for each in kept), "what Redis acknowledged is nowhere"
    assert b'"mark2"' in value.body


def an_external_write_comes_before_a_publish(place: Place) -> None:
    place.shop.create(place.a)
    meanwhile(place.a.redis, "publish", place.external_update)
    place.shop.update(place.a)
    place.shop.check()


def an_external_write_keeps_our_header_as_it_is(place: Place) -> None:
    """As a script does that replaces text."""
    place.shop.create(place.a)
    place.shop.get(place.a)
    value = raw(place.a, ID)
    assert value is not None
    put_raw(place.a, ID, value.replace(b'"mark1"', b'"theirs1":1,"mark1"'))
    place.shop.note_external("theirs1")
    with replaced(place.b.redis, "open", redis_away):
        place.shop.update(place.b)
    place.clock.advance(10)
    look_around(place.c)
    place.shop.check()


def an_external_write_of_an_old_version_is_read_while_it_is_taken_in(place: Place) -> None:
    place.shop.create(place.a)
    seen = raw(place.a, ID)
    assert seen is not None
    place.shop.update(place.a)
    place.write_down()
    place.shop.get(place.c)
    put_raw(place.a, ID, seen)
    place.external_update()
    meanwhile(place.b.flush_log, "apply", lambda: place.shop.get(place.c))
    place.shop.get(place.b)


def an_external_write_takes_a_payment_back(place: Place) -> None:
    place.shop.create(place.a)
    place.a.set_payment_status(ID, "paid", order_id="order-1")
    place.external_update(paymentStatus="pending")
    assert place.shop.get(place.b).status == "paid", "a payment was taken back"


def an_external_write_that_was_taken_in_comes_back_with_a_snapshot(place: Place) -> None:
    place.shop.create(place.a)
    place.external_update()
    save(place.server)
    place.shop.get(place.a)
    place.shop.update(place.a)
    place.restart()
    place.clock.advance(10)
    place.shop.get(place.b)
    assert place.b.flush_log.conflict_count() == 0, "a write is in conflict with itself"


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
    place.shop.update(place.a, fields={"n": 2})
    with replaced(place.c.database, "transaction", database_away):
        place.shop.update(place.c, fields={"n": 3})
    place.clock.advance(10)
    place.shop.get(place.b)
    flush_all(place.b)
    assert place.b.flush_log.conflict_count() == 0, "a write is in conflict with itself"


_STALE = "a stale read from redis: it lacks ['mark2']"
_LATE = "a stale read from redis: it lacks ['mark3']"
_TWICE = "a write is in conflict with itself"
_THEIRS = "external writes are lost: ['theirs1']"
CONTROLS: dict[str, tuple[Callable[[Place], None], str]] = {
    "version check": (two_write_at_once, "acknowledged writes are lost: ['mark3']"),
    "identity": (a_snapshot_comes_back, _STALE),
    "moment of the identity": (a_restart_between_a_commit_and_its_publish, _LATE),
    "write id": (the_answer_to_a_commit_is_lost, _TWICE),
    "lease": (a_publish_fails_and_others_read, _STALE),
    "moment of the lease": (a_look_takes_longer_than_the_lease, _STALE),
    "own distrust": (a_publish_fails_and_its_process_reads, _STALE),
    "checksum": (an_external_write_keeps_our_header_as_it_is, _THEIRS),
    "questionable": (an_external_write_of_an_old_version_is_read_while_it_is_taken_in, _STALE),
    "fill claim": (a_filler_comes_late_to_a_key_that_has_gone_again, _STALE),
    "missing keys": (a_publish_comes_late_to_an_evicted_key, _LATE),
    "end of claims": (a_filler_stalls_while_a_newer_version_is_written, _STALE),
    "exact bytes": (a_publish_comes_late_to_a_newer_version, _LATE),
    "fresh answers": (a_key_is_filled_with_an_old_version_before_the_new_one_is_published, _STALE),
    "publishing again": (a_current_snapshot_comes_back, "an unchanged session is never trusted again"),
    "external values": (an_external_write_comes_before_a_publish, _THEIRS),
    "dirty values": (a_row_is_published_over_what_only_redis_has, "what Redis acknowledged is nowhere"),
    "tombstone": (an_external_writer_writes_a_deleted_session, "a deleted session was read"),
    "flushed before": (a_flushed_value_comes_back, _TWICE),
    "base rule": (a_dirty_value_meets_a_row_that_it_did_not_grow_from, _LATE),
    "transitions": (an_external_write_takes_a_payment_back, "a payment was taken back"),
    "restored bytes": (an_external_write_that_was_taken_in_comes_back_with_a_snapshot, _TWICE),
}


@pytest.fixture
def place(valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock) -> Iterator[Place]:
    server = valkey_server()
    shop = Shop(replace(settings, redis_port=server.port), clock)
    make_tables(shop.process().database)
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

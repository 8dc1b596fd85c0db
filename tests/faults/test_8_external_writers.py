"""An external writer goes on during every step of ours, and through every fault: G6, each on a real server.

What it has written becomes the session's next version, is merged, or is in the conflict log with both contents; the
shop's reckoning looks for each of its marks. None of ours is lost for it, and none of it is taken in twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from checkout_cli.errors import DatabaseUnavailable, SessionNotFound
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.lease import LONGEST_WRITE
from tests.faults.altered import forget_what_was_flushed, overwrite_external_values, trust_what_was_taken_in
from tests.faults.conftest import Scenario
from tests.faults.crashing import crash
from tests.faults.external_writer import KEEPS, ExternalWriter, assert_taken_in, conflicts_of, row_of
from tests.faults.harness import (
    GRACE,
    ID,
    Background,
    Checkpoint,
    Shop,
    hand_over,
    outcome,
    trusted_again,
    value_in_redis,
)
from tests.support.proxy import ProxiedPostgres
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, evict, make_tables, put_raw, raw, save

Program = Callable[..., ExternalWriter]


@pytest.fixture
def program() -> Iterator[Program]:
    """``program(shop, server, keeps)``: an external writer on a server, which may be restarted under it."""
    clients = []

    def start(shop: Shop, server: ValkeyServer, keeps: bool) -> ExternalWriter:
        client = server.client(socket_timeout=5)
        clients.append(client)
        return ExternalWriter(shop, client, keeps_header=keeps)

    yield start
    for client in clients:
        client.close()


def settles(shop: Shop, clock: ManualClock, *stores: CheckoutStore) -> None:
    """Everybody reads the row's content, and Redis comes to be trusted with it."""
    for _ in range(2):
        clock.advance(GRACE)
        for store in stores:
            read = shop.get(store)
            assert (read.version, set(read.fields)) == (row_of(store)[0], set(row_of(store)[1]))
    assert all(trusted_again(shop, store) for store in stores)
    assert stores[0].flusher.pending.count() == 0
    stores[0].notes.write_down()


# During an update


@pytest.mark.fault("external writer: update")
@KEEPS
@pytest.mark.parametrize("read", ["before", "after"], ids=["read before our open", "read after it"])
def test_a_write_between_our_commit_and_our_publish_is_taken_in_by_that_publish(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
    read: str,
) -> None:
    shop = make_shop(scenario.settings)
    writer, other = shop.process(), shop.process()
    shop.create(writer)
    external = program(shop, scenario.redis, keeps)
    seen = external.read()
    checkpoint = Checkpoint(writer.redis, "publish")
    writing = background(shop.update, writer)
    checkpoint.wait()
    mark = external.write(seen if read == "before" else external.read())
    checkpoint.release()
    done = outcome(writing)
    assert (done.durability, done.published, done.session.version) == (Durability.DATABASE, True, 2)
    assert_taken_in(other, mark, keeps=keeps)
    assert row_of(other)[0] == (3 if keeps else 2)
    assert value_in_redis(other).base == row_of(other)[0], "what it became is published in its place"
    settles(shop, clock, other, writer)


@pytest.mark.fault("external writer: update")
@KEEPS
def test_a_write_back_of_what_was_read_before_our_update_is_merged_or_kept_when_it_is_met(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, program: Program, keeps: bool
) -> None:
    shop = make_shop(scenario.settings)
    writer, reader = shop.process(), shop.process()
    shop.create(writer)
    external = program(shop, scenario.redis, keeps)
    seen = external.read()
    shop.update(writer)
    mark = external.write(seen)  # over our version 2, which it has never seen
    assert {"mark1", "mark2"} <= set(shop.get(reader).fields)
    assert_taken_in(reader, mark, keeps=keeps)
    settles(shop, clock, reader, writer)


@pytest.mark.fault("external writer: update")
@KEEPS
@pytest.mark.parametrize("ours", ["processing", "paid", "failed"])
@pytest.mark.parametrize("theirs", ["pending", "paid", "cancelled"])
def test_a_payment_moves_only_along_the_allowed_transitions_whoever_is_late(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
    ours: str,
    theirs: str,
) -> None:
    shop = make_shop(scenario.settings)
    writer, other = shop.process(), shop.process()
    shop.create(writer)
    external = program(shop, scenario.redis, keeps)
    seen = external.read()
    checkpoint = Checkpoint(writer.redis, "publish")
    writing = background(shop.update, writer, ID, {"paymentStatus": ours, "databaseOrderId": "ours"})
    checkpoint.wait()
    changes = {} if theirs == "pending" else {"paymentStatus": theirs, "databaseOrderId": "theirs"}
    external.write(seen, **changes)
    checkpoint.release()
    assert outcome(writing).published is True
    _, fields = row_of(other)
    payment = (fields["paymentStatus"], fields["databaseOrderId"])
    if keeps or theirs == "pending" or ours == "paid":
        assert payment == (ours, "ours"), "changed on both sides, the row wins; and what is paid stays paid"
    else:
        assert payment == (theirs, "theirs"), "a final status moves forward"
    if theirs != "pending" and payment == (ours, "ours"):
        (conflict,) = conflicts_of(other)
        assert conflict.fields is not None
        assert (conflict.fields["paymentStatus"], conflict.fields["databaseOrderId"]) == (theirs, "theirs")
    settles(shop, clock, other, writer)


@pytest.mark.fault("external writer: update")
@KEEPS
def test_a_write_in_every_gap_of_our_publish_is_never_overwritten_and_leaves_the_row_pending(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    keeps: bool,
) -> None:
    shop = make_shop(scenario.settings)
    writer, reader = shop.process(), shop.process()
    shop.create(writer)
    external = program(shop, scenario.redis, keeps)
    publish = writer.redis.publish

    def outrun(*arguments: object, **options: object) -> object:
        external.update()
        return publish(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(writer.redis, "publish", outrun)
        done = shop.update(writer)
    assert (done.durability, done.published) == (Durability.DATABASE, False)
    assert shop.get(writer).version >= done.session.version, "its own write"
    clock.advance(1.01)
    shop.get(reader)
    settles(shop, clock, reader, writer)


@pytest.mark.fault("11 negative controls")
@KEEPS
def test_if_a_publish_took_an_external_value_for_old_its_loss_would_be_noticed(
    scenario: Scenario,
    clock: ManualClock,
    background: Background,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    keeps: bool,
) -> None:
    overwrite_external_values(monkeypatch)
    shop = Shop(scenario.settings, clock)
    try:
        writer = shop.process()
        make_tables(writer.database)
        shop.create(writer)
        checkpoint = Checkpoint(writer.redis, "publish")
        writing = background(shop.update, writer)
        checkpoint.wait()
        program(shop, scenario.redis, keeps).update()
        checkpoint.release()
        assert outcome(writing).published is True
        with pytest.raises(AssertionError, match="external writes are lost"):
            shop.check()
    finally:
        shop.close()


@pytest.mark.fault("external writer: update")
def test_a_deletion_by_an_external_writer_during_our_update_is_filled_again_from_the_row(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, background: Background, program: Program
) -> None:
    shop = make_shop(scenario.settings)
    writer, reader = shop.process(), shop.process()
    shop.create(writer)
    external = program(shop, scenario.redis, True)
    checkpoint = Checkpoint(writer.redis, "publish")
    writing = background(shop.update, writer)
    checkpoint.wait()
    mark = external.update(paymentStatus="paid", databaseOrderId="theirs")
    shop.forget_external(mark)  # nobody of ours looked in between: the bound of G6
    external.delete()
    checkpoint.release()
    assert outcome(writing).published is True
    assert raw(reader, ID) is None
    settles(shop, clock, reader, writer)


# During a deletion


@pytest.mark.fault("external writer: deletion")
@KEEPS
def test_a_write_between_our_tombstone_and_its_publish_is_kept_and_revives_nothing(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
) -> None:
    shop = make_shop(scenario.settings)
    deleter, other = shop.process(), shop.process()
    shop.create(deleter)
    external = program(shop, scenario.redis, keeps)
    checkpoint = Checkpoint(deleter.redis, "publish")
    deleting = background(shop.delete, deleter)
    checkpoint.wait()
    mark = external.update()
    checkpoint.release()
    outcome(deleting)
    assert raw(other, ID) is None, "the deletion was published over what is kept"
    (conflict,) = conflicts_of(other)
    assert (mark in (conflict.fields or {}), conflict.found_body, conflict.found_version) == (True, None, 2)
    for _ in range(2):
        clock.advance(GRACE)
        shop.gone(other)
        shop.gone(deleter)


@pytest.mark.fault("external writer: deletion")
@KEEPS
@pytest.mark.parametrize("call", ["get", "update", "delete"])
def test_a_write_back_after_our_deletion_is_kept_when_it_is_met_and_revives_nothing(
    scenario: Scenario, make_shop: Callable[..., Shop], program: Program, keeps: bool, call: str
) -> None:
    shop = make_shop(scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    external = program(shop, scenario.redis, keeps)
    seen = external.read()
    shop.delete(first)
    mark = external.write(seen)
    with pytest.raises(SessionNotFound):
        second.update(ID, {"notes": "x"}) if call == "update" else getattr(second, call)(ID)
    assert raw(second, ID) is None
    (conflict,) = conflicts_of(second)
    assert (mark in (conflict.fields or {}), conflict.found_body) == (True, None)
    shop.gone(first)


@pytest.mark.fault("external writer: deletion")
@KEEPS
def test_a_write_during_our_deletion_of_what_has_no_row_is_kept(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background, program: Program, keeps: bool
) -> None:
    shop = make_shop(scenario.settings)
    deleter, other = shop.process(), shop.process()
    external = program(shop, scenario.redis, keeps)
    first = external.write({"checkoutId": ID, "paymentStatus": "pending"})
    shop.forget_external(first)  # that is what is deleted
    checkpoint = Checkpoint(deleter.redis, "publish")
    deleting = background(shop.delete, deleter)
    checkpoint.wait()
    mark = external.update()
    checkpoint.release()
    outcome(deleting)
    (conflict,) = conflicts_of(other)
    assert (mark in (conflict.fields or {}), conflict.found_body) == (True, None)
    assert raw(other, ID) is None
    shop.gone(other)
    assert other.database.totals().created == 0, "it never was a session of ours"
    shop.told.clear()


# During a flush


@pytest.mark.fault("external writer: flush")
@KEEPS
@pytest.mark.parametrize("stalls", ["before the commit", "before the publish"])
def test_a_write_during_a_flush_loses_neither_what_is_flushed_nor_itself(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
    stalls: str,
) -> None:
    shop = make_shop(replace(scenario.settings, durability="redis"))
    writer, flusher = shop.process(), shop.process()
    shop.create(writer, require=Durability.DATABASE)
    done = shop.update(writer)
    assert (done.durability, done.session.version) == (Durability.REDIS, 2)
    external = program(shop, scenario.redis, keeps)
    stalled = (flusher.flush_log, "apply") if "commit" in stalls else (flusher.redis, "publish")
    checkpoint = Checkpoint(*stalled)
    flushing = background(hand_over, flusher)
    checkpoint.wait()
    mark = external.update()
    checkpoint.release()
    flushing.result(10)
    shop.get(flusher)
    version, fields = row_of(flusher)
    assert {"mark1", "mark2"} <= set(fields)
    assert_taken_in(flusher, mark, keeps=keeps)
    assert version == (3 if keeps else 2)
    settles(shop, clock, flusher, writer)


@pytest.mark.fault("external writer: flush")
@KEEPS
def test_a_write_over_what_was_not_flushed_yet_keeps_it(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, program: Program, keeps: bool
) -> None:
    shop = make_shop(replace(scenario.settings, durability="redis"))
    writer, reader = shop.process(), shop.process()
    shop.create(writer, require=Durability.DATABASE)
    assert shop.update(writer).durability is Durability.REDIS
    mark = program(shop, scenario.redis, keeps).update()
    shop.get(reader)
    version, fields = row_of(reader)
    assert_taken_in(reader, mark, keeps=keeps)
    if keeps:
        assert ({"mark1", "mark2"} <= set(fields), version) == (True, 3)
    else:
        (conflict,) = conflicts_of(reader)
        assert "mark2" in (conflict.fields or {}), "the database or the conflict log has what only Redis had"
    settles(shop, clock, reader, writer)


# While it is taken in


@pytest.mark.fault("external writer: flush")
@KEEPS
@pytest.mark.parametrize("stalls", ["before the swap", "before the commit", "before the publish"])
def test_two_processes_that_meet_a_write_at_once_take_it_in_once(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
    stalls: str,
) -> None:
    shop = make_shop(scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    mark = program(shop, scenario.redis, keeps).update()
    steps = {"swap": ("redis", "swap"), "commit": ("flush_log", "apply"), "publish": ("redis", "publish")}
    tier, name = steps[stalls.rpartition(" ")[2]]
    checkpoints = [Checkpoint(getattr(store, tier), name) for store in (first, second)]
    calling = [background(shop.get, first), background(shop.update, second)]
    for checkpoint in checkpoints:
        checkpoint.wait()
    for checkpoint in checkpoints:
        checkpoint.release()
    for call in calling:
        assert not isinstance(outcome(call), Exception)
    assert_taken_in(first, mark, keeps=keeps)
    assert first.external.writes().taken_in == 1
    assert row_of(first)[0] == (3 if keeps else 2)
    settles(shop, clock, first, second)


@pytest.mark.fault("external writer: flush")
@KEEPS
@pytest.mark.parametrize("stalls", ["before the commit", "before the publish"])
def test_a_further_write_while_the_one_before_is_taken_in_follows_it(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
    stalls: str,
) -> None:
    shop = make_shop(scenario.settings)
    store, reader = shop.process(), shop.process()
    shop.create(store)
    external = program(shop, scenario.redis, keeps)
    first = external.update()
    stalled = (store.flush_log, "apply") if "commit" in stalls else (store.redis, "publish")
    checkpoint = Checkpoint(*stalled)
    reading = background(shop.get, store)
    checkpoint.wait()
    second = external.update()  # of what was taken in, with what we have written beside it
    checkpoint.release()
    outcome(reading)
    shop.get(reader)
    version, fields = row_of(reader)
    if keeps:
        assert ({first, second} <= set(fields), version) == (True, 3)
        assert conflicts_of(reader) == []
    else:
        assert version == 1
        kept = [{first, second} & set(each.fields or {}) for each in conflicts_of(reader)]
        assert sorted(kept, key=len) == [{first}, {first, second}]
    settles(shop, clock, reader, store)


@pytest.mark.fault("external writer: update")
@KEEPS
def test_the_same_bytes_twice_take_nothing_of_ours_back(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, program: Program, keeps: bool
) -> None:
    shop = make_shop(scenario.settings)
    store, other = shop.process(), shop.process()
    shop.create(store)
    external = program(shop, scenario.redis, keeps)
    mark = external.update()
    value = raw(store, ID) or b""
    shop.get(store)
    shop.update(other)
    version, fields = row_of(other)
    put_raw(store, ID, value)  # a second webhook, or the first one again: nobody can tell
    read = shop.get(store)
    assert {"mark1", "mark2"} <= set(read.fields)
    assert row_of(store) == (version, fields)
    assert (mark in fields) is keeps
    (conflict,) = conflicts_of(store)
    assert mark in (conflict.fields or {}), "not taken in, and not kept"
    settles(shop, clock, store, other)


@pytest.fixture
def while_taken_in(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background, program: Program
) -> Callable[[], Shop]:
    """An old session that an external writer wrote back over a published version is met by one process, then another.

    The first one has taken it in, and not asked the database yet what it is worth.
    """

    def play() -> Shop:
        shop = make_shop(scenario.settings)
        writer, taker, reader = shop.process(), shop.process(), shop.process()
        shop.create(writer)
        external = program(shop, scenario.redis, True)
        seen = external.read()
        assert shop.update(writer).published is True
        hand_over(writer)
        for store in (taker, reader):
            assert shop.get(store).version == 2
        external.write(seen)
        checkpoint = Checkpoint(taker.flush_log, "apply")
        taking = background(shop.get, taker)
        checkpoint.wait()
        assert value_in_redis(reader).is_dirty
        try:
            shop.get(reader)
        finally:
            checkpoint.release()
            outcome(taking)
        return shop

    return play


@pytest.mark.fault("external writer: flush")
def test_what_is_only_taken_in_is_trusted_by_nobody(while_taken_in: Callable[[], Shop], clock: ManualClock) -> None:
    shop = while_taken_in()
    reader = shop.process()
    assert row_of(reader)[0] == 3
    settles(shop, clock, reader)


@pytest.mark.fault("11 negative controls")
def test_if_what_is_only_taken_in_were_trusted_it_would_be_read_stale(
    while_taken_in: Callable[[], Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_what_was_taken_in(monkeypatch)
    with pytest.raises(AssertionError, match="a stale read from redis: it lacks"):
        while_taken_in()


# A process that dies while it takes a write in

STEPS = [
    "redis.open:after",
    "redis.swap:after",
    "flush_log.apply:before",
    "flush_log.apply:after",
    "redis.publish:before",
    "redis.publish:after",
]


@pytest.mark.fault("external writer: crash while taken in")
@KEEPS
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("call", ["get", "update"])
def test_a_write_whose_taker_dies_at_any_step_is_taken_in_once(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    program: Program,
    keeps: bool,
    step: str,
    call: str,
) -> None:
    shop = make_shop(scenario.settings)
    store, other = shop.process(), shop.process()
    shop.create(store)
    mark = program(shop, scenario.redis, keeps).update()
    crash(shop.settings, step, call)
    shop.get(other)
    assert_taken_in(other, mark, keeps=keeps)
    assert other.external.writes().taken_in == 1
    settles(shop, clock, other, store)
    assert row_of(other)[0] <= 3


# A restart from a snapshot

MOMENTS = ["as it was written", "taken in", "flushed"]


def taken_in_up_to(moment: str, store: CheckoutStore, server: ValkeyServer, background: Background) -> None:
    """A read takes an external value in; the snapshot is of one moment of that."""
    if moment == "as it was written":
        save(server)
        store.get(ID)
    elif moment == "taken in":
        checkpoint = Checkpoint(store.flush_log, "apply")
        reading = background(store.get, ID)
        checkpoint.wait()
        assert value_in_redis(store).questionable
        save(server)
        checkpoint.release()
        outcome(reading)
    else:
        store.get(ID)
        save(server)


@pytest.mark.fault("external writer: snapshot restart")
@KEEPS
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("after", ["nothing", "update", "delete", "another external write"])
def test_a_restored_external_value_is_taken_in_once_and_takes_nothing_back(
    own_scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
    moment: str,
    after: str,
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    external = program(shop, own_scenario.redis, keeps)
    mark = external.update()
    taken_in_up_to(moment, first, own_scenario.redis, background)
    assert_taken_in(first, mark, keeps=keeps)
    if after == "update":
        shop.update(second)
    elif after == "delete":
        shop.delete(second)
    elif after == "another external write":
        external.update()
        shop.get(second)
    before = second.database.read(ID)
    conflicts = conflicts_of(second)
    own_scenario.redis.kill()
    own_scenario.redis.start()
    restored = value_in_redis(second)
    assert (restored.is_external, restored.questionable) == (moment == MOMENTS[0], moment == MOMENTS[1])
    clock.advance(6)
    for store in (second, first):
        for _ in range(2):
            (shop.gone if after == "delete" else shop.get)(store)
    now = second.database.read(ID)
    assert before is not None
    assert now is not None
    assert (now.version, now.body) == (before.version, before.body), "what was restored was taken in again"
    assert conflicts_of(second) == conflicts
    if after == "delete":
        assert raw(second, ID) is None
        shop.forget_external(mark) if keeps else None
    else:
        settles(shop, clock, second, first)


@pytest.mark.fault("11 negative controls")
@KEEPS
def test_if_nobody_remembered_what_was_flushed_a_restored_value_would_be_taken_in_again(
    own_scenario: Scenario, make_shop: Callable[..., Shop], program: Program, clock: ManualClock, keeps: bool
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    program(shop, own_scenario.redis, keeps).update()
    save(own_scenario.redis)
    shop.get(first)
    shop.update(second)
    before = (row_of(second)[0], len(conflicts_of(second)))
    with pytest.MonkeyPatch.context() as patch:
        forget_what_was_flushed(patch)
        own_scenario.redis.kill()
        own_scenario.redis.start()
        clock.advance(6)
        shop.get(second)
    assert (row_of(second)[0], len(conflicts_of(second))) == (before[0], before[1] + 1), "a second conflict"


@pytest.mark.fault("external writer: snapshot restart")
@KEEPS
@pytest.mark.parametrize("meanwhile", ["nothing", "update", "delete"])
def test_a_write_that_nobody_met_before_the_restart_is_met_after_it(
    own_scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    program: Program,
    keeps: bool,
    meanwhile: str,
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    mark = program(shop, own_scenario.redis, keeps).update()
    save(own_scenario.redis)
    own_scenario.redis.kill()
    if meanwhile == "update":
        assert shop.update(second).published is False
    elif meanwhile == "delete":
        shop.delete(second)
    own_scenario.redis.start()
    clock.advance(6)
    if meanwhile == "delete":
        shop.gone(first)
        (conflict,) = conflicts_of(first)
        assert (mark in (conflict.fields or {}), conflict.found_body) == (True, None)
        shop.gone(second)
        return
    shop.get(first)
    assert_taken_in(first, mark, keeps=keeps)
    settles(shop, clock, first, second)


# Without the database


@pytest.fixture
def with_cut(
    scenario: Scenario, postgres: ProxiedPostgres, make_shop: Callable[..., Shop]
) -> tuple[Shop, CheckoutStore, CheckoutStore]:
    """A shop, and two of its processes, which reach their database through a proxy."""
    shop = make_shop(replace(scenario.settings, database_url=postgres.url, database_timeout=0.3))
    through = replace(shop.settings, database_url=postgres.proxied_url)
    return shop, shop.process(through), shop.process(through)


@pytest.mark.fault("external writer: database away")
@KEEPS
def test_without_the_database_its_writes_are_read_unverified_and_built_upon_and_all_arrive(
    with_cut: tuple[Shop, CheckoutStore, CheckoutStore],
    postgres: ProxiedPostgres,
    scenario: Scenario,
    clock: ManualClock,
    program: Program,
    keeps: bool,
) -> None:
    shop, store, other = with_cut
    shop.create(store)
    external = program(shop, scenario.redis, keeps)
    assert trusted_again(shop, store)
    postgres.proxy.refuse()
    first = external.update()
    read = shop.get(store)
    assert (read.verified, read.external, first in read.fields) == (False, True, True)
    done = shop.update(store)
    assert (done.durability, done.session.verified) == (Durability.REDIS, False)
    assert {"mark1", first} <= set(done.session.fields), "it builds on what it found"
    second = external.update()
    read = shop.get(store)
    assert (read.verified, read.external) == (False, True)
    assert {"mark1", first, second} <= set(read.fields)
    again = shop.update(other)
    assert {"mark1", first, second} <= set(again.session.fields)
    postgres.proxy.restore()
    clock.advance(6)
    hand_over(other)
    _, fields = row_of(other)
    everything = {"mark1", first, second} | {mark for mark in again.session.fields if mark.startswith("mark")}
    if keeps:
        assert everything <= set(fields)
        assert conflicts_of(other) == []
        assert row_of(other)[0] == again.session.version, "the version that the writer was told"
    else:
        (conflict,) = conflicts_of(other)
        assert everything <= set(conflict.fields or {}), "something is neither in the row nor in the conflict log"
        assert conflict.found_body is not None
    settles(shop, clock, other, store)


@pytest.mark.fault("external writer: database away")
@KEEPS
def test_a_write_between_our_open_and_our_swap_is_not_overwritten_and_the_next_try_builds_on_it(
    with_cut: tuple[Shop, CheckoutStore, CheckoutStore],
    postgres: ProxiedPostgres,
    scenario: Scenario,
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
) -> None:
    shop, store, _ = with_cut
    shop.create(store)
    external = program(shop, scenario.redis, keeps)
    postgres.proxy.refuse()
    checkpoint = Checkpoint(store.redis, "swap")
    writing = background(shop.update, store)
    checkpoint.wait()
    mark = external.update()
    checkpoint.release()
    assert isinstance(outcome(writing), DatabaseUnavailable), "the database may have had it on top of what was opened"
    assert mark in shop.get(store).fields
    done = shop.update(store)
    assert done.durability is Durability.REDIS
    assert {"mark1", mark} <= set(done.session.fields)
    postgres.proxy.restore()
    clock.advance(6)
    shop.get(store)
    assert_taken_in(store, mark, keeps=keeps)
    clock.advance(LONGEST_WRITE + 1)  # until then the commit that nobody heard of might still come
    settles(shop, clock, store)


@pytest.mark.fault("external writer: database away")
@KEEPS
@pytest.mark.parametrize("other_side", ["update", "delete"])
def test_a_write_on_our_side_of_a_cut_and_a_version_on_the_other_lose_neither(
    with_cut: tuple[Shop, CheckoutStore, CheckoutStore],
    postgres: ProxiedPostgres,
    scenario: Scenario,
    clock: ManualClock,
    program: Program,
    keeps: bool,
    other_side: str,
) -> None:
    shop, cut, _ = with_cut
    other = shop.process()
    shop.create(other)
    external = program(shop, scenario.redis, keeps)
    postgres.proxy.refuse()
    mark = external.update()
    done = shop.update(cut)  # which builds on it
    assert done.durability is Durability.REDIS
    if other_side == "update":
        shop.update(other)  # which brings it to the database first
    else:
        shop.delete(other)
    postgres.proxy.restore()
    clock.advance(6)
    if other_side == "delete":
        shop.gone(cut)
        assert raw(cut, ID) is None
        if keeps:
            shop.forget_external(mark)  # it was a version of what was deleted then
        return
    shop.get(cut)
    everything = {"mark1", mark} | {name for name in done.session.fields if name.startswith("mark")}
    _, fields = row_of(cut)
    kept = set(fields).union(*(set(conflict.fields or {}) for conflict in conflicts_of(cut)))
    assert everything <= kept
    assert keeps is (everything <= set(fields))
    settles(shop, clock, cut, other)


@pytest.mark.fault("external writer: database away")
@KEEPS
def test_a_restart_while_the_database_is_away_is_built_upon_and_all_arrives(
    own_scenario: Scenario,
    postgres: ProxiedPostgres,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    program: Program,
    keeps: bool,
) -> None:
    shop = make_shop(replace(own_scenario.settings, database_url=postgres.url, database_timeout=0.3))
    store = shop.process(replace(shop.settings, database_url=postgres.proxied_url))
    shop.create(store)
    external = program(shop, own_scenario.redis, keeps)
    postgres.proxy.refuse()
    mark = external.update()
    shop.update(store)
    save(own_scenario.redis)
    own_scenario.redis.kill()
    own_scenario.redis.start()
    clock.advance(6)
    read = shop.get(store)
    assert (read.verified, mark in read.fields) == (False, True)
    done = shop.update(store)
    assert done.durability is Durability.REDIS
    postgres.proxy.restore()
    clock.advance(6)
    shop.get(store)
    everything = {mark} | {name for name in done.session.fields if name.startswith("mark")}
    assert len(everything) == 4
    _, fields = row_of(store)
    kept = set(fields).union(*(set(conflict.fields or {}) for conflict in conflicts_of(store)))
    assert everything <= kept
    assert keeps is (everything <= set(fields))
    settles(shop, clock, store)


# Whatever else Redis loses


@pytest.mark.fault("external writer: update")
@KEEPS
def test_the_first_write_under_an_id_is_read_without_a_trace_and_adopted_by_our_first_write(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, program: Program, keeps: bool
) -> None:
    shop = make_shop(scenario.settings)
    store, other = shop.process(), shop.process()
    external = program(shop, scenario.redis, keeps)
    mark = external.write({"checkoutId": ID, "paymentStatus": "pending"})
    before = raw(store, ID)
    read = shop.get(store)
    assert (read.tier, read.external, read.version) == (TierName.REDIS, True, 0)
    assert (raw(store, ID), store.database.read(ID)) == (before, None)
    done = shop.update(store)
    assert (done.durability, done.published) == (Durability.DATABASE, True)
    assert mark in done.session.fields
    again = external.update()
    evict(other, ID)  # before anybody of ours has looked: the bound of G6
    shop.forget_external(again)
    settles(shop, clock, other, store)

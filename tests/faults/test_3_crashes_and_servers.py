"""Processes that die at each step, values that are no sessions, servers that refuse, clocks that disagree."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, SessionCorrupt
from checkout_cli.keys import claim_key
from checkout_cli.session import Durability, TierName
from checkout_cli.store.redis.tier import FILL_TIME
from tests.faults.conftest import Scenario, settings_for
from tests.faults.crashing import crash
from tests.faults.harness import GRACE, ID, Shop, hand_over, trusted_again, value_in_redis
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ManualClock,
    count_calls,
    evict,
    key_of,
    make_store,
    make_tables,
    put_raw,
    raw,
    wait_until,
)

# Crashes


@pytest.mark.fault("crash after commit")
@pytest.mark.parametrize("call", ["create", "update", "delete"])
def test_a_write_whose_process_died_after_the_commit_is_handed_over_by_another_process(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, call: str
) -> None:
    shop = make_shop(scenario.settings)
    other = shop.process()
    if call != "create":
        shop.create(other)
        shop.get(other)
    crash(shop.settings, "redis.publish:before", call)
    assert len(other.database.pending(10)) == 1
    clock.advance(GRACE)
    if call == "delete":
        shop.note_deletion(other, everywhere=False)
        shop.gone(other)
        shop.gone(shop.process())
        assert raw(other, ID) is None
    else:
        assert "crashed" in shop.get(other).fields
        assert trusted_again(shop, other) or call == "create"  # there the dead process' claim still holds
    clock.advance(GRACE)
    hand_over(other)
    assert other.database.pending(10) == [] or call == "create"


@pytest.mark.fault("crash after commit")
def test_the_claim_of_a_filler_that_died_costs_seconds_and_no_lifetime(
    scenario: Scenario, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    store.redis.ask(("DEL", key_of(ID)))
    crash(shop.settings, "database.read:before", "get")
    claim = claim_key(ID).encode()
    assert 0 < store.redis.ask(("PTTL", claim)) <= FILL_TIME
    assert raw(store, ID) is None, "the session's key is missing for every program"
    assert shop.get(store).tier is TierName.DATABASE
    assert raw(store, ID) is None, "it was filled without a claim"
    store.redis.ask(("PEXPIRE", claim, 1))  # as if ten seconds had passed by Redis' own clock
    wait_until(lambda: not store.redis.ask(("EXISTS", claim)))
    shop.get(store)
    assert trusted_again(shop, store)


STEPS = [
    ("redis.open:after", False),
    ("database.update:before", False),
    ("database.update:after", True),
    ("redis.publish:before", True),
    ("redis.publish:after", True),
    ("lease.note_published:after", True),
    ("notes.write_down:before", True),
    ("database.note_published:after", True),
]


@pytest.mark.fault("10 crash at every step")
@pytest.mark.parametrize(("step", "committed"), STEPS)
def test_a_crash_at_any_step_of_an_update_leaves_it_whole_or_undone(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, step: str, committed: bool
) -> None:
    shop = make_shop(scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.get(second)
    crash(shop.settings, step, "update")
    for store in (first, second):
        for _ in range(3):
            clock.advance(GRACE)
            read = shop.get(store)
            assert ("crashed" in read.fields, read.version) == (committed, 2 if committed else 1)
        assert trusted_again(shop, store)
    first.notes.write_down()
    second.notes.write_down()
    assert first.database.pending(10) == []


@pytest.mark.fault("10 crash at every step")
def test_a_crash_before_the_lazy_note_costs_one_publish_and_then_nothing(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    crash(shop.settings, "notes.write_down:before", "update")
    published = count_calls(store.redis, "publish", monkeypatch)
    for _ in range(6):
        clock.advance(GRACE)
        hand_over(store)
    assert len(published) == 1
    assert store.database.pending(10) == []
    assert trusted_again(shop, store)
    assert len(published) == 1


@pytest.mark.fault("10 crash at every step")
@pytest.mark.parametrize(
    "step", ["flush_log.apply:before", "flush_log.apply:after", "redis.publish:before", "redis.publish:after"]
)
def test_a_crash_in_a_flush_flushes_once(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, step: str
) -> None:
    shop = make_shop(replace(scenario.settings, durability="redis"))
    store = shop.process()
    assert shop.create(store).durability is Durability.REDIS
    crash(shop.settings, step, "get")
    assert (shop.get(store).version, store.flush_log.conflict_count(), store.flusher.pending.count()) == (1, 0, 0)
    assert not value_in_redis(store).is_dirty, "a flush leaves a clean copy"
    assert store.database.totals().created == 1


# Values that are no sessions

OVERSIZED = b'{"notes":"' + b"x" * 2_000_000 + b'"}'
BROKEN = {
    "random": os.urandom(300),
    "empty": b"",
    "a list": b"[1,2]",
    "cut off": b"",
    "cut off with our stamp": b"",
    "a flipped byte": b"",
    "not UTF-8": b'{"notes":"\xff\xfe"}',
    "nested too deeply": b"[" * 200_000,
}


def broken(kind: str, good: bytes) -> bytes:
    """A value that is no session; ``good`` is the session's own."""
    if kind == "cut off":
        return good[: len(good) // 3]
    if kind == "cut off with our stamp":
        return good[:-1]
    if kind == "a flipped byte":
        return good[:-20] + b"\x00" + good[-19:]
    return BROKEN[kind]


@pytest.mark.fault("corrupt, WRONGTYPE")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_value_is_replaced_by_the_database_and_its_bytes_are_kept(
    scenario: Scenario, make_shop: Callable[..., Shop], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    shop.create(store, "session-0002")
    value = broken(kind, raw(store, ID) or b"")
    put_raw(store, ID, value)
    listed = {sighting.checkout_id: sighting.detail for sighting in store.admin.iterate()}
    assert set(listed) == {ID, "session-0002"}
    assert (listed[ID], listed["session-0002"]) == ("corrupt in Redis", "")
    with caplog.at_level(logging.WARNING, "checkout_cli.store"):
        assert shop.get(store).version == 1
    assert "checkoutctl sync --conflicts" in caplog.text
    (kept,) = store.flush_log.conflicts(10)
    assert (kept.checkout_id, kept.source, kept.written, kept.fields) == (ID, "external", value, None)
    row = store.database.read(ID)
    assert row is not None
    assert (kept.found_version, kept.found_body) == (1, row.body)
    assert trusted_again(shop, store)
    assert trusted_again(shop, store, "session-0002")
    put_raw(store, ID, value)
    shop.get(store)
    assert store.flush_log.conflicts(10) == [kept], "the same bytes again are kept once"
    assert (store.external.writes().taken_in, store.external.writes().conflicts) == (1, 1)


@pytest.mark.fault("corrupt, WRONGTYPE")
def test_a_healthy_session_of_an_external_writer_is_never_kept_as_bytes_that_are_none(
    scenario: Scenario, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    put_raw(store, ID, b'{"checkoutId":"session-0001","notes":"theirs"}')
    shop.get(store)
    (kept,) = store.flush_log.conflicts(10)
    assert kept.fields == {"checkoutId": ID, "notes": "theirs"}
    value = raw(store, ID) or b""
    put_raw(store, ID, value.replace(b'"mark1":1', b'"mark1":2'))
    read = shop.get(store)
    assert (read.version, read.fields["mark1"]) == (2, 2)
    assert store.flush_log.conflicts(10) == [kept], "it grew from the row, and is its next version"


@pytest.mark.fault("corrupt, WRONGTYPE")
def test_an_update_over_a_broken_value_builds_on_the_database(
    scenario: Scenario, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    put_raw(store, ID, b"\x00\x01")
    assert shop.update(store).session.version == 2
    assert trusted_again(shop, store)
    put_raw(store, ID, b"\x00\x02")
    shop.delete(store)
    assert raw(store, ID) is None
    assert {kept.written for kept in store.flush_log.conflicts(10)} == {b"\x00\x01", b"\x00\x02"}


@pytest.mark.fault("corrupt, WRONGTYPE")
def test_an_oversized_value_hurts_its_own_session_only(scenario: Scenario, make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    shop.create(store, "session-0002")
    put_raw(store, ID, OVERSIZED)
    assert {sighting.checkout_id: sighting.detail for sighting in store.admin.iterate()}[ID] == "too large in Redis"
    assert shop.get(store).tier is TierName.DATABASE
    assert shop.update(store).published is False
    assert shop.get(store).version == 2
    assert store.redis.ask(("STRLEN", key_of(ID))) == len(OVERSIZED), "it could not be kept, and so it stays"
    assert trusted_again(shop, store, "session-0002")
    assert not store.redis.breaker.is_open
    evict(store, ID)
    assert trusted_again(shop, store)


@pytest.mark.fault("corrupt, WRONGTYPE")
def test_a_key_of_another_type_is_left_alone_and_the_database_serves(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    store.redis.ask_all(("DEL", key_of(ID)), ("LPUSH", key_of(ID), "x"))
    assert shop.get(store).tier is TierName.DATABASE
    done = shop.update(store)
    assert (done.published, done.session.version) == (False, 2)
    assert store.redis.ask(("TYPE", key_of(ID))) == b"list"
    assert [sighting.detail for sighting in store.admin.iterate()] == ["wrong type in Redis"]
    clock.advance(GRACE)
    shop.get(store)
    store.redis.ask(("DEL", key_of(ID)))
    clock.advance(GRACE)
    shop.get(store)
    assert trusted_again(shop, store)


@pytest.mark.fault("corrupt, WRONGTYPE")
def test_a_broken_value_that_no_row_stands_behind_is_kept_and_told(
    scenario: Scenario, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    put_raw(store, ID, b"\x00\x01")
    with pytest.raises(SessionCorrupt):
        store.get(ID)
    assert raw(store, ID) == b"\x00\x01"
    assert [str(sighting.problem) for sighting in store.admin.iterate()] == ["corrupt"]


# What Redis refuses


@pytest.mark.fault("AOF damage")
@pytest.mark.parametrize("damage", ["truncated", "truncated and garbage"])
def test_a_damaged_append_only_file_brings_back_nothing_that_is_trusted(
    valkey_server: Callable[..., ValkeyServer],
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    damage: str,
    clock: ManualClock,
) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "yes")
    shop = make_shop(settings_for(server, sqlite_url))
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.update(first)
    shop.update(second)
    server.kill()
    (log,) = (server.directory / "appendonlydir").glob("*.incr.aof")
    content = log.read_bytes()
    log.write_bytes(content[: -len(content) // 4] if damage == "truncated" else content[:-100])
    server.start()
    clock.advance(6)
    for store in (first, second):
        assert shop.get(store).version == 3
    assert trusted_again(shop, first)


@contextlib.contextmanager
def no_replicas(server: ValkeyServer):
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        yield
        client.config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def busy(server: ValkeyServer):
    with server.client(socket_timeout=5) as client:
        client.config_set("busy-reply-threshold", 1)
        looping = server.client(socket_timeout=None).connection_pool.get_connection()
        looping.send_command("EVAL", "while true do end", 0)
        wait_until(lambda: _refused(client, "BUSY"))
        yield
        client.execute_command("SCRIPT", "KILL")
        wait_until(lambda: not _refused(client, "BUSY"))
        looping.disconnect()


@contextlib.contextmanager
def failed_save(server: ValkeyServer):
    """A background save that fails, on a server that then refuses writes; a directory stands where the file should."""
    with server.client(socket_timeout=5) as client:
        client.config_set("stop-writes-on-bgsave-error", "yes")
        client.config_set("save", "3600 1")
        (server.directory / "dump.rdb").mkdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        yield
        client.config_set("save", "")


@contextlib.contextmanager
def no_more_clients(server: ValkeyServer):
    with server.client(socket_timeout=5) as client:
        client.config_set("maxclients", 1)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield
        client.config_set("maxclients", 10_000)


def _refused(client: object, code: str) -> bool:
    import redis

    try:
        client.ping()  # type: ignore[attr-defined]
    except redis.RedisError as error:
        return code in repr(error) or code.lower() in str(error).lower()
    return False


@pytest.mark.fault("NOREPLICAS, BUSY, MISCONF, maxclients, LOADING")
@pytest.mark.parametrize("refusing", [no_replicas, busy, failed_save, no_more_clients])
def test_a_redis_that_refuses_is_an_outage_and_the_database_goes_on(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, refusing: Callable[..., object]
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.get(second)
    with refusing(own_scenario.redis):  # type: ignore[attr-defined]
        assert shop.update(first).published is False
        assert shop.get(first).version == 2
        clock.advance(1.01)
        assert shop.get(second).version == 2
        shop.create(first, "session-0002")
        shop.delete(first, "session-0002", everywhere=False)
    clock.advance(GRACE + 4)
    shop.get(second)
    clock.advance(GRACE)
    assert trusted_again(shop, second)
    assert trusted_again(shop, first)


@pytest.mark.fault("NOREPLICAS, BUSY, MISCONF, maxclients, LOADING")
def test_a_redis_that_still_loads_its_data_is_an_outage_and_serves_afterwards(
    valkey_server: Callable[..., ValkeyServer], sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    server = valkey_server("--key-load-delay", "0")
    shop = make_shop(settings_for(server, sqlite_url))
    first, second = shop.process(), shop.process()
    shop.create(first)
    with server.client(socket_timeout=10) as client:
        pipeline = client.pipeline()
        for number in range(3000):
            pipeline.set(f"filler:{number}", "x")
        pipeline.execute()
        client.save()
        shop.update(first)
    server.kill()
    server._arguments = (
        *server._arguments,
        "--key-load-delay",
        "400",
        "--loading-process-events-interval-bytes",
        "1024",
    )
    server._launch(server.port)
    with server.client() as client:
        wait_until(lambda: _loading(client))
        clock.advance(6)
        assert shop.get(first).version == 2
        assert shop.update(second).published is False
        wait_until(lambda: not _loading(client), 15)
    clock.advance(6)
    for store in (first, second):
        assert shop.get(store).version == 3
        assert trusted_again(shop, store)


def _loading(client: object) -> bool:
    import redis

    try:
        client.get("x")  # type: ignore[attr-defined]
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.RedisError:
        return False
    return False


# Credentials


@pytest.mark.fault("wrong password, ACL")
def test_a_wrong_password_is_an_error_and_not_a_quiet_life_on_the_database(
    valkey_server: Callable[..., ValkeyServer], sqlite_url: str, make_shop: Callable[..., Shop]
) -> None:
    server = valkey_server("--requirepass", "right")
    shop = make_shop(replace(settings_for(server, sqlite_url), redis_password="right"))
    shop.create(shop.process())
    store = shop.process(replace(shop.settings, redis_password="wrong"))
    for call in (lambda: store.get(ID), lambda: store.update(ID, {"notes": "x"}), lambda: store.delete(ID)):
        with pytest.raises(AccessDenied):
            call()
    assert not store.redis.breaker.is_open
    assert shop.get(shop.process()).version == 1


@pytest.mark.fault("wrong password, ACL")
def test_with_a_missing_permission_the_database_serves_and_that_is_logged_as_an_error(
    valkey_server: Callable[..., ValkeyServer],
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = valkey_server("--requirepass", "right")
    shop = make_shop(replace(settings_for(server, sqlite_url), redis_password="right"))
    shop.create(shop.process())
    with server.client(password="right") as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">right", "~*", "+@all", "-getex", "-set", "-evalsha")
    store = shop.process(replace(shop.settings, redis_username="reader"))
    assert shop.get(store).version == 1
    assert not store.update(ID, {"notes": "x"}).published
    assert not store.redis.breaker.is_open
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "GETEX is denied to this user (ACL), EVALSHA is denied" in error.getMessage()


@pytest.mark.fault("wrong password, ACL")
def test_the_command_exits_with_4_for_a_wrong_password(
    valkey_server: Callable[..., ValkeyServer], checkoutctl: Checkoutctl, settings: Settings
) -> None:
    server = valkey_server("--requirepass", "right")
    with make_store(settings) as store:
        make_tables(store.database)
    wrong = {"REDIS_PORT": str(server.port), "REDIS_PASSWORD": "wrong"}
    done = checkoutctl("sessions", "create", "--file", "-", env=wrong, input="{}")
    assert (done.returncode, done.stdout) == (4, "")
    assert "wrong" not in done.stderr.replace("wrong pass", "").lower() or "WRONGPASS" in done.stderr


# Clocks


@pytest.mark.fault("clock skew")
@pytest.mark.parametrize("skew", [-7_200.0, -5.0, 5.0, 600.0])
def test_clocks_that_disagree_change_no_order(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, skew: float
) -> None:
    shop = make_shop(scenario.settings)
    other_clock = ManualClock(clock.milliseconds + round(skew * 1000), clock.seconds)
    right, wrong = shop.process(), shop.process(clock=other_clock)
    shop.create(right)
    versions = []
    for number in range(6):
        store = (right, wrong)[number % 2]
        versions.append(shop.update(store).session.version)
        for reader in (right, wrong):
            assert shop.get(reader).version == versions[-1]
        clock.advance(0.7)
        other_clock.advance(0.7)
    assert versions == [2, 3, 4, 5, 6, 7]
    shop.delete(wrong)
    shop.gone(right)

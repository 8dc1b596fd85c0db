from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import redis as redis_driver

from checkout_cli.clock import Clock
from checkout_cli.commands.memory.eviction import LARGEST_VALUE, EvictionRisk, eviction_risk, order_of
from checkout_cli.commands.memory.show import Growth, MemoryLook, MemoryReport, look_at_memory
from checkout_cli.config.settings import Settings
from checkout_cli.files.last_look import LastLook
from checkout_cli.keys import Family, session_key
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.odd_servers import _until as wait_until
from tests.support.servers import RedisServer, ValkeyServer

FULL = MemoryLook("here:1", used=1000, limit=1000, limit_known=True, policy="noeviction")


@pytest.fixture
def own(valkey_server: Callable[..., ValkeyServer]) -> Iterator[tuple[ValkeyServer, RedisAdmin]]:
    server = valkey_server()
    redis = RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=2.0))
    yield server, redis
    redis.close()


def answers(server: ValkeyServer) -> bool:
    try:
        with server.client() as client:
            return bool(client.ping())
    except redis_driver.RedisError:
        return False


def look(redis: RedisAdmin, directory: Path, at: int) -> MemoryLook:
    report = look_at_memory(redis, clock=Clock(wall=lambda: at), last_look=LastLook(directory), random=Random(1))
    return report.servers[0]


def put(server: ValkeyServer, name: str, total: float, *, status: str = "pending", ttl: int = 100_000) -> None:
    value = json.dumps({"paymentStatus": status, "totalAmount": total, "pad": "x" * 500})
    with server.client() as client:
        client.set(session_key(name), value, px=ttl)


def risk(server: ValkeyServer, redis: RedisAdmin, policy: str, limit: int | None, *, now: int = 0) -> EvictionRisk:
    return eviction_risk(redis.servers()[0], policy, limit, Random(1), now=now)


# Until it is full


def test_growth_and_minutes_until_full_are_since_the_last_look(
    own: tuple[ValkeyServer, RedisAdmin], tmp_path: Path
) -> None:
    server, redis = own
    first = look(redis, tmp_path, 1_000_000)
    assert first.growth is None
    assert "first look" in first.no_growth
    with server.client(socket_timeout=5) as client:
        client.config_set("maxmemory", first.used + 100_000_000)
        client.set("other:1", "x" * 10_000_000)
    second = look(redis, tmp_path, 1_060_000)
    assert second.growth is not None
    assert second.growth.seconds == 60
    assert 9_500_000 < second.growth.size_per_minute < 13_000_000
    assert second.minutes_until_full == pytest.approx(second.headroom / second.growth.size_per_minute)  # type: ignore[operator]
    assert second.never_full == ""
    with server.client(socket_timeout=5) as client:
        client.delete("other:1")
    third = look(redis, tmp_path, 1_120_000)
    assert third.growth is not None
    assert third.growth.size_per_minute < 0
    assert third.minutes_until_full is None
    assert third.never_full == "it does not grow"


def test_looks_in_quick_succession_are_compared_with_the_one_before_them(
    own: tuple[ValkeyServer, RedisAdmin], tmp_path: Path
) -> None:
    _, redis = own
    look(redis, tmp_path, 1_000_000)
    assert "less than 10 s ago" in look(redis, tmp_path, 1_006_000).no_growth
    third = look(redis, tmp_path, 1_012_000)
    assert third.growth is not None
    assert third.growth.seconds == 12


def test_a_restart_is_no_growth_and_no_eviction(own: tuple[ValkeyServer, RedisAdmin], tmp_path: Path) -> None:
    server, redis = own
    look(redis, tmp_path, 1_000_000)
    server.kill()
    server._launch(server.port)
    wait_until(lambda: answers(server))
    again = RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=2.0))
    after = look(again, tmp_path, 1_060_000)
    again.close()
    assert after.growth is None
    assert "restarted" in after.no_growth


def test_a_clock_that_went_back_gives_no_negative_rate(own: tuple[ValkeyServer, RedisAdmin], tmp_path: Path) -> None:
    _, redis = own
    look(redis, tmp_path, 2_000_000)
    back = look(redis, tmp_path, 1_000_000)
    assert back.growth is None
    assert back.minutes_until_full is None


def test_evictions_are_counted_since_the_last_look(own: tuple[ValkeyServer, RedisAdmin], tmp_path: Path) -> None:
    server, redis = own
    with server.client(socket_timeout=5) as client:
        for number in range(300):
            client.set(f"other:{number}", "x" * 4096)
        look(redis, tmp_path, 1_000_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 400_000)
        client.set("other:last", "x")
        evicted = client.info("stats")["evicted_keys"]
    second = look(redis, tmp_path, 1_060_000)
    assert evicted > 50
    assert second.evicted == evicted
    assert second.growth is not None
    assert second.growth.evicted_per_minute == evicted


@pytest.mark.parametrize(
    ("memory", "minutes", "why"),
    [
        (FULL, 0.0, ""),
        (replace(FULL, used=2000), 0.0, ""),
        (replace(FULL, used=500, growth=Growth(60, 100, 0)), 5.0, ""),
        (replace(FULL, used=500, growth=Growth(60, 0, 0)), None, "it does not grow"),
        (replace(FULL, used=500, growth=Growth(60, -5, 0)), None, "it does not grow"),
        (replace(FULL, used=500, no_growth="first"), None, "first"),
        (replace(FULL, limit=None), None, "there is no limit"),
        (replace(FULL, limit=None, system=5000, growth=Growth(60, 100, 0)), None, "there is no limit"),
        (replace(FULL, limit=None, limit_known=False), None, "the limit is unknown"),
        (replace(FULL, used=0, not_counted=50), None, "it does not grow"),
    ],
)
def test_minutes_until_full_are_a_number_or_a_reason(memory: MemoryLook, minutes: float | None, why: str) -> None:
    assert memory.minutes_until_full == minutes
    assert memory.never_full == why
    assert memory.headroom is None or memory.headroom >= 0


def test_what_does_not_count_against_the_limit_is_left_out() -> None:
    memory = replace(FULL, used=900, not_counted=400)
    assert memory.counted == 500
    assert memory.headroom == 500
    assert memory.fullness == 0.5


def test_a_reading_that_cannot_be_kept_is_said_and_stops_nothing(
    own: tuple[ValkeyServer, RedisAdmin], tmp_path: Path
) -> None:
    _, redis = own
    blocked = tmp_path / "file"
    blocked.write_text("")
    report: MemoryReport = look_at_memory(redis, last_look=LastLook(blocked / "state"))
    assert "file" in report.unwritten
    assert report.servers[0].used > 0


# What is evicted first


def test_nothing_is_evicted_under_noeviction_and_the_open_checkouts_are_still_known(
    own: tuple[ValkeyServer, RedisAdmin],
) -> None:
    server, redis = own
    put(server, "one", 10.5)
    put(server, "two", 5, status="processing")
    put(server, "three", 999, status="paid")
    found = risk(server, redis, "noeviction", 1_000_000)
    assert "refused" in found.order
    assert found.first is None
    assert found.families is None
    assert found.open is not None
    assert (found.open.number, found.open.value) == (2, 15.5)
    assert found.exact


def test_volatile_ttl_evicts_the_soonest_to_expire_and_nothing_else(
    own: tuple[ValkeyServer, RedisAdmin],
) -> None:
    server, redis = own
    put(server, "late", 100, ttl=900_000)
    put(server, "soon", 7, ttl=50_000)
    with server.client() as client:
        client.set("other:1", "x" * 5000)
        size = client.memory_usage(session_key("soon"))
    found = risk(server, redis, "volatile-ttl", int(size) * 100)
    assert found.first is not None
    assert (found.first.number, found.first.value) == (1, 7)
    assert found.families == {Family.SESSIONS: 1}
    assert found.keys == 1


def test_volatile_policies_with_nothing_to_evict_evict_nothing(own: tuple[ValkeyServer, RedisAdmin]) -> None:
    server, redis = own
    with server.client() as client:
        client.set("other:1", "x" * 5000)
    found = risk(server, redis, "volatile-lru", 1_000_000)
    assert (found.keys, found.freed) == (0, 0)


def test_least_used_keys_go_first_under_lfu(own: tuple[ValkeyServer, RedisAdmin]) -> None:
    server, redis = own
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        client.config_set("lfu-log-factor", 0)
    put(server, "hot", 100)
    put(server, "cold", 3)
    with server.client() as client:
        for _ in range(50):
            client.get(session_key("hot"))
        size = client.memory_usage(session_key("cold"))
    found = risk(server, redis, "allkeys-lfu", int(size) * 100)
    assert found.first is not None
    assert found.first.value == 3


def test_looking_at_baskets_extends_no_life_and_touches_nothing(own: tuple[ValkeyServer, RedisAdmin]) -> None:
    server, redis = own
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        client.config_set("lfu-log-factor", 0)
        put(server, "one", 5, ttl=50_000)
        before = client.object("freq", session_key("one"))
        for _ in range(3):
            risk(server, redis, "allkeys-lfu", 1_000_000)
        assert client.object("freq", session_key("one")) == before
        assert client.pttl(session_key("one")) <= 50_000
        client.get(session_key("one"))  # the control: this counts as a use
        assert client.object("freq", session_key("one")) > before


def test_values_that_are_too_large_or_no_sessions_are_not_read_and_not_counted(
    own: tuple[ValkeyServer, RedisAdmin],
) -> None:
    server, redis = own
    put(server, "good", 5)
    with server.client() as client:
        client.set(session_key("huge"), b'{"totalAmount":1000000,"pad":"' + b"x" * LARGEST_VALUE + b'"}')
        client.set(session_key("broken"), b"{")
        client.set(session_key("list"), b"[]")
        client.lpush(session_key("wrong-type"), "x")
        client.set(session_key("odd"), b'{"totalAmount":"much","paymentStatus":null}')
        before = client.info("commandstats")["cmdstat_get"]["calls"] if "cmdstat_get" in client.info("all") else 0
        found = risk(server, redis, "noeviction", None)
        calls = client.info("commandstats")["cmdstat_get"]["calls"] - before
    assert found.open is not None
    assert (found.open.number, found.open.value) == (2, 5)
    assert calls == 4  # good, broken, list, odd


def test_a_large_server_is_judged_from_about_a_thousand_keys(own: tuple[ValkeyServer, RedisAdmin]) -> None:
    server, redis = own
    script = """
    for n = 1, 20000 do
      redis.call('SET', 'checkout:session:' .. n, '{"totalAmount":10,"paymentStatus":"pending"}', 'PX', 100000 + n)
    end
    """
    with server.client(socket_timeout=10) as client:
        client.eval(script, 0)
        reads = client.info("all").get("cmdstat_get", {"calls": 0})["calls"]
        found = risk(server, redis, "volatile-ttl", 100_000_000)
        reads = client.info("all")["cmdstat_get"]["calls"] - reads
    assert not found.exact
    assert 900 < found.looked_at < 1300
    assert reads <= 1300
    assert found.open is not None
    assert 18_000 < found.open.number < 22_000
    assert found.open.value == pytest.approx(10 * found.open.number, rel=0.01)
    assert found.first is not None
    assert found.freed is not None
    assert 1_000_000 <= found.freed < 1_200_000
    assert found.first.number == pytest.approx(found.keys, abs=1)


@pytest.mark.needs("redis-server")
def test_a_server_without_no_touch_is_told_of(valkey_server: Callable[..., ValkeyServer]) -> None:
    server = valkey_server(kind=RedisServer)
    redis = RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=2.0))
    put(server, "one", 5)
    with server.client() as client:
        has_it = "no-touch" in str(client.execute_command("CLIENT", "HELP")).lower()
    found = risk(server, redis, "allkeys-lru", 1_000_000)
    redis.close()
    assert any("NO-TOUCH" in note for note in found.notes) is not has_it


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("allkeys-lru", "of all keys, the longest unused first"),
        ("volatile-ttl", "of keys with a TTL, the soonest to expire first"),
        ("allkeys-random", "of all keys, any first"),
        ("allkeys-new", "of all keys, in an order that we do not know first"),
    ],
)
def test_a_policy_is_said_in_words(policy: str, words: str) -> None:
    assert order_of(policy) == words

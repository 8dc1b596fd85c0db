from __future__ import annotations

import time
from random import Random

import pytest

from checkout_cli.clock import Clock
from checkout_cli.commands.memory.groups import look_at_families, measure_families, sample_families
from checkout_cli.commands.memory.measure import NO_TTL, Method, Page, measuring, throttled_pages
from checkout_cli.commands.memory.sample import sample_of
from checkout_cli.commands.memory.tally import TTL_STEPS, FamiliesReport, FamilyMemory, Tally
from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput, RedisUnavailable
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import INDEX, Family
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.servers import ValkeyServer

FILL = """
for n = 1, tonumber(ARGV[1]) do
  if n % 4 == 0 then redis.call('SET', 'coupon:cache:' .. n, string.rep('x', n % 50), 'PX', 400000)
  elseif n % 100 == 1 then redis.call('SET', 'other:' .. n, string.rep('z', 5000))
  else redis.call('SET', 'checkout:session:' .. n, string.rep('y', 500 + n % 400), 'PX', 1700000) end
  redis.call('ZADD', 'checkout:index', n, n)
end
"""


def redis_at(server: ValkeyServer) -> RedisAdmin:
    return RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=2.0))


def fill(server: ValkeyServer, number: int) -> None:
    with server.client(socket_timeout=30) as client:
        client.eval(FILL, 0, number)


def of(report: FamiliesReport, family: Family) -> FamilyMemory:
    return next(one for one in report.families if one.family is family)


# Exact


def test_what_is_counted_is_what_memory_usage_and_pttl_say(any_redis_server: ValkeyServer) -> None:
    fill(any_redis_server, 3000)
    redis = redis_at(any_redis_server)
    report = measure_families(redis, biggest=3)
    with any_redis_server.client(socket_timeout=5) as client:
        sizes = {key: client.memory_usage(key) for key in client.scan_iter(count=1000)}
    redis.close()
    assert report.looked_at == report.total == 3001
    assert sum(one.size or 0 for one in report.families) == sum(sizes.values())
    assert [one.size for one in report.biggest] == sorted(sizes.values(), reverse=True)[:3]
    assert all(sizes[one.key] == one.size for one in report.biggest)
    assert of(report, Family.COUPON).ttls == (0, 0, 750, 0, 0, 0, 0)
    assert of(report, Family.OTHER).without_ttl == of(report, Family.OTHER).keys == 30
    assert (report.partial, report.method) == (False, Method.MEMORY_USAGE)


def test_counting_disturbs_neither_idle_times_nor_lives(any_redis_server: ValkeyServer) -> None:
    with any_redis_server.client(socket_timeout=5) as client:
        client.set("other:1", "x", px=100_000)
        client.execute_command("DEBUG", "SLEEP", "0")
        redis = redis_at(any_redis_server)
        time.sleep(1.1)  # the LRU clock counts whole seconds
        before = client.object("idletime", "other:1")
        measure_families(redis)
        sample_families(redis, 1000)
        assert client.object("idletime", "other:1") >= before >= 1
        redis.ask(("GET", "other:1"))  # the control: this does
        assert client.object("idletime", "other:1") == 0
        redis.close()


def test_no_connection_is_left_with_no_touch_on(valkey: ValkeyServer) -> None:
    fill(valkey, 10)
    redis = redis_at(valkey)
    measure_families(redis)
    (line,) = [one for one in redis.ask(("CLIENT", "LIST")).decode().splitlines() if "cmd=client|list" in one]
    redis.close()
    flags = line.partition("flags=")[2].partition(" ")[0]
    assert "T" not in flags


def test_no_more_than_a_thousand_commands_go_out_at_once(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from checkout_cli.store.redis.pipeline import Conversation

    sent: list[int] = []
    send = Conversation.send

    def counted(self: Conversation, packed: bytes, replies: int) -> None:
        sent.append(replies)
        send(self, packed, replies)

    monkeypatch.setattr(Conversation, "send", counted)
    fill(valkey, 5000)
    redis = redis_at(valkey)
    measure_families(redis)
    redis.close()
    assert len(sent) > 10
    assert max(sent) <= 1000


def test_a_throttle_rests_in_proportion_to_what_each_page_took(valkey: ValkeyServer) -> None:
    fill(valkey, 2000)
    rests: list[float] = []
    ticks = iter(range(10_000))
    redis = redis_at(valkey)
    with measuring(redis.servers()[0]) as (talk, allowed):
        clock = Clock(elapsed=lambda: float(next(ticks)), pause=rests.append)
        pages = list(throttled_pages(talk, allowed, 0, 0.25, clock))
    redis.close()
    assert sum(len(page.keys) for page in pages) == 2001
    assert rests == [3.0] * len(pages)  # a second of work, three of rest


def test_the_command_sleeps_only_when_a_load_is_given(valkey: ValkeyServer) -> None:
    fill(valkey, 1000)
    rests: list[float] = []
    redis = redis_at(valkey)
    measure_families(redis, BoundedRun(Clock(pause=rests.append)))
    assert rests == []
    report = measure_families(redis, BoundedRun(Clock(pause=rests.append)), max_load=50)
    redis.close()
    assert len(rests) >= 2
    assert report.looked_at == 1001


def test_an_interruption_keeps_what_was_counted_and_where_to_go_on(valkey: ValkeyServer) -> None:
    fill(valkey, 5000)

    def interrupt(done: int, _total: int) -> None:
        if done > 1000:
            raise KeyboardInterrupt

    redis = redis_at(valkey)
    first = measure_families(redis, BoundedRun(progress=interrupt))
    assert first.stopped == "interrupted"
    assert first.cursor is not None
    rest = measure_families(redis, cursor=first.cursor)
    redis.close()
    assert 1000 < first.looked_at < 5000
    assert first.looked_at + rest.looked_at == 5001
    assert rest.resumed
    assert rest.partial


def test_a_server_that_hangs_half_way_costs_one_time_out(store: CheckoutStore, valkey_server: object) -> None:
    server = valkey_server()  # type: ignore[operator]
    fill(server, 5000)
    redis = RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=0.3))
    paused = []

    def pause(_done: int, _total: int) -> None:
        if not paused:
            server.pause()
            paused.append(time.monotonic())

    with pytest.raises(RedisUnavailable, match="in time"):
        measure_families(redis, BoundedRun(progress=pause))
    redis.close()
    assert time.monotonic() - paused[0] < 0.9


@pytest.mark.parametrize("options", [{"max_load": 0}, {"max_load": float("nan")}, {"cursor": "a"}])
def test_what_makes_no_sense_is_refused(store: CheckoutStore, options: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        look_at_families(store.redis, BoundedRun(), **options)  # type: ignore[arg-type]


# The tally


def test_each_time_to_live_falls_into_its_bar_and_none_into_none() -> None:
    ttls: list[int | None] = [NO_TTL, None, 0, *(step - 1 for step in TTL_STEPS), *TTL_STEPS]
    tally = Tally(2)
    tally.add(Page([b"other:%d" % number for number in range(len(ttls))], [7] * len(ttls), ttls, 0))
    counted = tally.families[Family.OTHER]
    assert counted.without_ttl == 1
    assert counted.ttls == [2, 2, 2, 2, 2, 2, 1]
    assert counted.size == 7 * len(ttls)


def test_the_biggest_keys_are_kept_across_pages_and_once_each() -> None:
    tally = Tally(2)
    for sizes in ([5, 1], [9, 5], [9, 2]):
        tally.add(Page([b"other:%d" % size for size in sizes], list(sizes), [NO_TTL, NO_TTL], 0))
    assert [one.size for one in tally.biggest] == [9, 5]
    assert Tally(0).biggest == ()


def test_a_key_without_a_size_is_counted_apart() -> None:
    tally = Tally(1)
    tally.add(Page([b"other:1", b"other:2"], [None, 3], [NO_TTL, None], 0))
    counted = tally.families[Family.OTHER]
    assert (counted.keys, counted.size, counted.unmeasured) == (2, 3, 1)


# A sample


def test_the_true_numbers_lie_inside_the_bounds(any_redis_server: ValkeyServer) -> None:
    fill(any_redis_server, 40_000)
    redis = redis_at(any_redis_server)
    truth = measure_families(redis)
    inside = total = 0
    for seed in range(40):
        estimate = sample_families(redis, 4000, random=Random(seed))
        assert estimate.sample
        for true, guessed in zip(truth.families, estimate.families, strict=True):
            assert guessed.keys_bound is not None
            assert guessed.size_bound is not None
            for value, bound in ((true.keys, guessed.keys_bound), (true.size or 0, guessed.size_bound)):
                inside += bound.low <= value and (bound.high is None or value <= bound.high)
                total += 1
    sessions = of(estimate, Family.SESSIONS)
    redis.close()
    assert inside / total >= 0.95
    assert sessions.keys_bound is not None
    assert sessions.keys_bound.high is not None
    assert (sessions.keys_bound.high - sessions.keys_bound.low) / sessions.keys < 0.1  # and they say something


def test_keys_at_a_known_place_are_exact_in_a_sample(valkey: ValkeyServer) -> None:
    fill(valkey, 20_000)
    redis = redis_at(valkey)
    index = of(sample_families(redis, 1000, random=Random(1)), Family.INDEX)
    size = redis.ask(("MEMORY", "USAGE", INDEX))
    redis.close()
    assert index.keys == 1
    assert index.size == size > 500_000


def test_keys_that_have_ended_and_are_still_counted_by_redis_are_not_in_the_estimate(valkey: ValkeyServer) -> None:
    fill(valkey, 20_000)
    redis = redis_at(valkey)
    with valkey.client(socket_timeout=30) as client:
        client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        client.eval("for n = 1, 20000 do redis.call('SET', 'delivery:cache:' .. n, 'x', 'PX', 1) end", 0)
        time.sleep(0.02)
        try:
            assert client.dbsize() == 40_001
            estimate = sample_families(redis, 4000, random=Random(1))
        finally:
            client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    redis.close()
    # The server chooses the slots of its keys at its start, so each run draws another sample: a bound of 95 %
    # would miss the truth in one run of twenty. Counting the ended keys doubles the estimate.
    assert 12_000 < of(estimate, Family.SESSIONS).keys < 18_000
    assert of(estimate, Family.DELIVERY).keys == 0


def test_where_there_are_no_more_keys_than_the_sample_all_are_looked_at(valkey: ValkeyServer) -> None:
    fill(valkey, 500)
    redis = redis_at(valkey)
    report = sample_families(redis, 1000)
    redis.close()
    assert not report.sample
    assert report.looked_at == 501


def test_the_same_random_numbers_draw_the_same_keys(valkey: ValkeyServer) -> None:
    fill(valkey, 10_000)
    redis = redis_at(valkey)
    one, two, other = (
        [key for drawn in sample_of(redis.servers()[0], 1000, Random(seed)).drawn for key in drawn.page.keys]
        for seed in (1, 1, 2)
    )
    redis.close()
    assert one == two != other
    assert 900 <= len(one) <= 1300

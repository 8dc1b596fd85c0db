from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from checkout_cli.commands.cache.entries import CacheStatistics, cache_statistics
from checkout_cli.commands.cache.view import show_statistics
from checkout_cli.config.settings import Settings
from checkout_cli.domain.statistics import CacheCounts
from checkout_cli.errors import InvalidInput, RedisUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import Command
from tests.support.servers import ValkeyServer

Captured = pytest.CaptureFixture[str]
NOWHERE = 1  # a port on which nothing listens


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with valkey.client() as opened:
        yield opened


def test_counts_are_those_of_the_wanted_minutes(store: CheckoutStore, client: redis.Redis) -> None:
    minute = store.clock.wall() // 60_000
    client.hset(f"stats:minute:{minute}", mapping={"delivery:hit": 9, "delivery:miss": 1, "coupon:error": 2})
    client.hset(f"stats:minute:{minute - 30}", mapping={"delivery:hit": 1000})

    found = cache_statistics(store, 900)

    assert found.minutes == 15
    assert (found.caches["delivery"].hit, found.caches["delivery"].reads) == (9, 10)
    assert found.caches["coupon"].error == 2
    assert cache_statistics(store, 3600).caches["delivery"].hit == 1009


@pytest.mark.parametrize("since", [0, 1, 3601, 1e12])
def test_what_is_not_kept_is_not_counted(since: float, store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput):
        cache_statistics(store, since)


def test_without_redis_nobody_knows(settings: Settings) -> None:
    with CheckoutStore.open(dataclasses.replace(settings, redis_port=NOWHERE)) as away, pytest.raises(RedisUnavailable):
        cache_statistics(away, 900)


def test_all_minutes_come_in_one_round_trip(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    exchange = store.redis.exchange

    def counted(*commands: Command, **how: Any) -> Any:
        sent.append(len(commands))
        return exchange(*commands, **how)

    monkeypatch.setattr(store.redis, "exchange", counted)

    cache_statistics(store, 3600)

    assert sent == [60]


def test_rates_are_shares_of_all_reads_and_unknown_where_nobody_read(capsys: Captured) -> None:
    found = CacheStatistics(15, {"delivery": CacheCounts(90, 6, 3, 1), "coupon": CacheCounts()}, enabled=True)

    show_statistics(found, as_json=True)
    caches = json.loads(capsys.readouterr().out)["caches"]
    assert caches["delivery"] == {
        "reads": 100, "hits": 90, "misses": 6, "stale": 3, "errors": 1,
        "hitRate": 0.9, "missRate": 0.06, "staleRate": 0.03, "errorRate": 0.01,
    }  # fmt: skip
    assert caches["coupon"]["hitRate"] is None
    show_statistics(found, as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["delivery", "100", "90", "6", "3", "1", "90.0%", "1.0%"]


def test_statistics_that_nobody_counts_are_told_from_caches_that_nobody_asks(capsys: Captured) -> None:
    show_statistics(CacheStatistics(15, {"delivery": CacheCounts()}, enabled=False), as_json=False)

    told = capsys.readouterr().err
    assert "no cache was asked in the last 15m" in told
    assert "REDIS_ENABLE_STATISTICS is false here" in told

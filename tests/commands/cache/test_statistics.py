from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from checkout_cli.commands.cache.statistics import cache_statistics
from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput, RedisUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import Command
from tests.support.servers import ValkeyServer

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

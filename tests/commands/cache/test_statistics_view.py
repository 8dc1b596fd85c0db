from __future__ import annotations

import json

import pytest

from checkout_cli.commands.cache.statistics import CacheStatistics
from checkout_cli.commands.cache.view import show_statistics
from checkout_cli.domain.statistics import CacheCounts

Captured = pytest.CaptureFixture[str]


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

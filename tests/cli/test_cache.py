from __future__ import annotations

import json
import typing
from collections.abc import Callable

import pytest

from tests.conftest import Checkoutctl
from tests.servers import ValkeyServer

STATS = ("cache", "stats")


def test_statistics_are_read_from_the_minutes(checkoutctl: Checkoutctl, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        seconds, _ = typing.cast("tuple[int, int]", client.time())
        for minute in (seconds // 60, seconds // 60 - 1):
            client.hset(f"stats:minute:{minute}", mapping={"coupon:hit": 3, "coupon:miss": 1, "coupon:stale": 1})

    done = checkoutctl("cache", "stats", "--since", "10m", "--json")

    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr, document["minutes"]) == (0, "", 10)
    assert document["caches"]["coupon"]["reads"] == 10
    assert document["caches"]["coupon"]["hitRate"] == 0.6
    assert checkoutctl("cache", "stats").stdout.splitlines()[2].split()[:4] == ["coupon", "10", "6", "2"]


@pytest.mark.parametrize("since", ["2h", "5", "30s", "", "-5m"])
def test_what_is_not_kept_is_a_usage_error(since: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl(*STATS, f"--since={since}")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_redis_away_hung_or_refusing_is_one_clear_line(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--requirepass", "right")
    there = {"REDIS_PORT": str(server.port)}
    denied = checkoutctl(*STATS, env=there | {"REDIS_PASSWORD": "canary-word"})
    server.pause()
    try:
        hung = checkoutctl(*STATS, "--timeout", "0.3", env=there | {"REDIS_PASSWORD": "right"})
    finally:
        server.resume()
    gone = checkoutctl(*STATS, env={"REDIS_PORT": "1"})

    assert [done.returncode for done in (denied, hung, gone)] == [4, 69, 69]
    for done in (denied, hung, gone):
        assert done.stdout == ""
        assert done.stderr.startswith("error: Redis at ")
        assert done.stderr.count("\n") == 2
        assert "canary-word" not in done.stderr

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from redis.crc import key_slot

from checkout_cli.commands.memory import sample as key_sampling
from checkout_cli.commands.memory.groups import measure_families, sample_families
from checkout_cli.commands.memory.show import look_at_memory
from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput
from checkout_cli.files.last_look import LastLook
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import Family, coupon_key, session_key
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.cluster import SLOTS, Cluster

SESSIONS, COUPONS = 9000, 3000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        redis = tier(cluster)
        redis.ask_all(*(("SET", session_key(f"s-{n}"), "x" * (200 + n % 300), "PX", 900_000) for n in range(SESSIONS)))
        redis.ask_all(*(("SET", key, "y") for key in islice(crowded_keys(), COUPONS)))
        redis.close()
        yield cluster


def crowded_keys() -> Iterator[str]:
    """Coupons whose slots are all at the beginning of a server's share."""
    keys = (coupon_key(f"C{number}") for number in count())
    return (key for key in keys if key_slot(key.encode()) % -(-SLOTS // 3) < SLOTS // 30)


def tier(cluster: Cluster, timeout: float = 2.0) -> RedisAdmin:
    port = cluster.primaries[0].port
    return RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=port, redis_mode="cluster", timeout=timeout))


@pytest.fixture
def redis(cluster: Cluster) -> Iterator[RedisAdmin]:
    opened = tier(cluster)
    yield opened
    opened.close()


def test_all_servers_are_counted(redis: RedisAdmin) -> None:
    report = measure_families(redis)
    counted = {one.family: one.keys for one in report.families}
    assert (counted[Family.SESSIONS], counted[Family.COUPON]) == (SESSIONS, COUPONS)
    assert report.looked_at == report.total == SESSIONS + COUPONS
    assert report.place == "3 servers of a cluster"


def test_a_cursor_goes_on_at_the_server_where_it_stopped(redis: RedisAdmin) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done > 6000:
            raise KeyboardInterrupt

    first = measure_families(redis, BoundedRun(progress=interrupt))
    assert first.cursor is not None
    assert first.cursor.startswith("1-")
    rest = measure_families(redis, cursor=first.cursor)
    assert first.looked_at + rest.looked_at == SESSIONS + COUPONS
    with pytest.raises(InvalidInput):
        measure_families(redis, cursor="7-0")


def coupons_on_average(redis: RedisAdmin) -> float:
    """How many coupons 40 samples estimate, on average; one alone can be far off, and its bounds are as wide."""
    reports = [sample_families(redis, 3000, random=Random(seed)) for seed in range(40)]
    return fmean(one.keys for report in reports for one in report.families if one.family is Family.COUPON)


def test_a_sample_of_a_cluster_is_drawn_from_all_slots_by_their_keys(
    redis: RedisAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert coupons_on_average(redis) == pytest.approx(COUPONS, rel=0.2)
    # The control: any cursor at all is most often one of another server's slot, and then of this server's first.
    monkeypatch.setattr(key_sampling, "cursor_in_slot_of", lambda _key, place: place)
    assert coupons_on_average(redis) > 1.2 * COUPONS


def test_each_server_has_its_own_memory(redis: RedisAdmin, tmp_path: Path) -> None:
    report = look_at_memory(redis, last_look=LastLook(tmp_path))
    assert len({memory.place for memory in report.servers}) == 3


def test_a_server_that_is_away_is_named_and_the_others_are_counted(cluster: Cluster, tmp_path: Path) -> None:
    redis = tier(cluster, timeout=0.5)
    redis.servers()
    cluster.primaries[1].pause()
    try:
        report = measure_families(redis)
        shown = look_at_memory(redis, last_look=LastLook(tmp_path))
    finally:
        cluster.primaries[1].resume()
        redis.close()
    assert len(report.missing) == len(shown.missing) == 1
    assert report.partial
    assert 0 < report.looked_at < SESSIONS + COUPONS

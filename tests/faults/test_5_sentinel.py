"""Failovers behind a real Sentinel: lagging, in the middle of an operation, back again, and with two primaries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from tests.faults.harness import GRACE, Background, Checkpoint, Shop, outcome, trusted_again
from tests.support.sentinel import SERVICE, Replicated
from tests.support.stores import ManualClock, wait_until


@pytest.mark.fault("failover")
def test_a_failover_to_a_replica_that_lags_loses_and_revives_nothing(
    replicated: Replicated, settings_behind_sentinel: Settings, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_behind_sentinel)
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.create(first, "session-0002")
    assert trusted_again(shop, first)
    with replicated.first.client() as client:
        client.wait(1, 2000)
    replicated.second.pause()  # from here on the replica hears of nothing
    shop.update(first)
    shop.delete(first, "session-0002")
    replicated.first.kill()
    replicated.second.resume()
    shop.get(first)
    shop.gone(second, "session-0002")
    assert shop.update(second).published is False
    replicated.wait_for_primary(replicated.second)
    for _ in range(3):
        clock.advance(6)
        for store in (first, second):
            shop.get(store)
            shop.gone(store, "session-0002")
    assert trusted_again(shop, first)
    assert trusted_again(shop, second)
    assert shop.update(first).published is True


@pytest.mark.fault("8 Sentinel")
def test_a_failover_in_the_middle_of_a_write_publishes_nowhere_it_should_not(
    replicated: Replicated,
    settings_behind_sentinel: Settings,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
) -> None:
    shop = make_shop(settings_behind_sentinel)
    stalled, other = shop.process(), shop.process()
    shop.create(stalled)
    shop.get(other)
    checkpoint = Checkpoint(stalled.redis, "publish")
    writing = background(shop.update, stalled)
    checkpoint.wait()
    replicated.fail_over(replicated.second)
    clock.advance(6)
    shop.update(other)
    checkpoint.release()
    outcome(writing)
    for _ in range(3):
        clock.advance(GRACE)
        for store in (stalled, other):
            shop.get(store)
    assert trusted_again(shop, stalled)
    assert trusted_again(shop, other)


@pytest.mark.fault("8 Sentinel")
def test_a_failback_without_a_restart_brings_no_old_copy_back(
    replicated: Replicated, settings_behind_sentinel: Settings, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_behind_sentinel)
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.get(second)
    for server in (replicated.second, replicated.first):
        replicated.fail_over(server)
        clock.advance(6)
        shop.update(first)
        for _ in range(3):
            clock.advance(1.01)
            shop.get(first)
            shop.get(second)
        assert trusted_again(shop, second)


@pytest.mark.fault("8 Sentinel")
def test_a_process_that_is_left_on_the_old_primary_trusts_it_for_t_at_most(
    replicated: Replicated, settings_behind_sentinel: Settings, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_behind_sentinel)
    left, moved = shop.process(), shop.process()
    shop.create(left)
    assert trusted_again(shop, left)
    with replicated.second.client() as promoted, replicated.sentinel() as client:
        promoted.replicaof("NO", "ONE")  # the old primary goes on, and does not know: two primaries, as in a partition
        client.execute_command("SENTINEL", "REMOVE", SERVICE)
        client.execute_command("SENTINEL", "MONITOR", SERVICE, HOST, replicated.second.port, 1)
        wait_until(lambda: client.sentinel_master(SERVICE)["flags"] == "master", 10)
    shop.update(moved)
    identity = left.redis.identity("any-session")
    for _ in range(3):
        clock.advance(1.01)
        assert shop.get(left).version == 2
        shop.get(moved)
    assert left.redis.identity("any-session") == identity, "it was not left on the old primary"
    shop.update(left)
    clock.advance(1.01)
    assert shop.get(moved).version == 3

"""Several clean-ups in one run: the limit is for all of them, and each has its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from checkout_cli.commands.cleanup.cleanup import Cleanup, run_cleanup
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ExitCode
from checkout_cli.jobs import clocks
from checkout_cli.jobs.bounded_run import BoundedRun, Stopped
from checkout_cli.keys import INDEX, PENDING
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis import index as redis_index
from tests.support.stores import ManualClock, make_store, make_tables

NUMBER = 40
ALL = ("expired", "index", "orphans")


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(settings: Settings, time: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckoutStore]:
    """With sessions that are in no index, and pending names that nothing stands behind."""
    monkeypatch.setattr(redis_index, "PAGE", 2)
    monkeypatch.setattr(clocks, "TOLERATED", 3600)  # tests let much time pass, and the server does not
    with make_store(settings, time) as opened:
        make_tables(opened.database)
        for number in range(NUMBER):
            opened.create({}, checkout_id=f"session-{number:04}")
        opened.redis.ask(("DEL", INDEX))
        opened.redis.ask(("SADD", PENDING, *(f"nothing-{number:04}" for number in range(NUMBER))))
        yield opened


def cleanup(store: CheckoutStore, *, dry_run: bool = False, **bounds: Any) -> Cleanup:
    run = BoundedRun(store.clock, **bounds)
    return run_cleanup(store, run, ALL, agreed=lambda _: True, dry_run=dry_run, batch=500 if dry_run else 2)


def test_the_limit_is_for_the_whole_and_each_has_its_turn(store: CheckoutStore, time: ManualClock) -> None:
    begun = time.seconds
    done = cleanup(store, max_seconds=60, progress=lambda *_: time.advance(5))
    assert done.expired is not None
    assert done.index is not None
    assert done.orphans is not None
    assert not done.finished
    assert min(done.index.keys, done.expired.entered_into_index + done.index.missing.number) > 0
    assert time.seconds - begun < 60 + 20 * 5  # every phase does one page at least


def test_short_runs_together_do_all_of_it(store: CheckoutStore, time: ManualClock) -> None:
    runs = 0
    while store.redis.ask(("SCARD", PENDING)) or store.redis.ask(("ZCARD", INDEX)) < NUMBER:
        cleanup(store, max_seconds=20, progress=lambda *_: time.advance(5))
        runs += 1
        assert runs < 100, "one of them starves"
    assert runs > 1


def test_after_ctrl_c_nothing_more_is_begun(store: CheckoutStore) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    done = cleanup(store, progress=interrupt)
    assert (done.expired, done.index, done.stopped) == (None, None, Stopped.INTERRUPTED)
    assert (done.finished, done.exit_code) == (False, ExitCode.INTERRUPTED)


def test_a_look_alone_remembers_nothing(store: CheckoutStore, time: ManualClock) -> None:
    done = cleanup(store, dry_run=True, max_seconds=20, progress=lambda *_: time.advance(5))
    assert not done.finished
    assert store.redis.ask(("EXISTS", "checkout:job:index", "checkout:job:orphans", "checkout:job:cleanup")) == 0

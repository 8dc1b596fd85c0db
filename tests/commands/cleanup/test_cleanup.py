"""Several clean-ups in one run: the limit is for all of them, and each has its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from checkout_cli.commands.cleanup.cleanup import Tidied, Tidying, tidy
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ExitCode
from checkout_cli.jobs.bounded_run import BoundedRun, Stopped
from checkout_cli.keys import INDEX, PENDING
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis import index as redis_index
from tests.support.stores import ManualClock, make_store, make_tables

NUMBER = 40
ALL = Tidying(expired=True, index=True, orphans=True, batch=2)


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(settings: Settings, time: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckoutStore]:
    """With sessions that are in no index, and pending names that nothing stands behind."""
    monkeypatch.setattr(redis_index, "PAGE", 2)
    with make_store(settings, time) as opened:
        make_tables(opened.database)
        for number in range(NUMBER):
            opened.create({}, checkout_id=f"session-{number:04}")
        opened.redis.ask(("DEL", INDEX))
        opened.redis.ask(("SADD", PENDING, *(f"nothing-{number:04}" for number in range(NUMBER))))
        yield opened


def tidied(store: CheckoutStore, wanted: Tidying, **bounds: Any) -> Tidied:
    return tidy(store, wanted, BoundedRun(store.clock, **bounds), agreed=lambda _: True)


def test_the_limit_is_for_the_whole_and_each_has_its_turn(store: CheckoutStore, time: ManualClock) -> None:
    begun = time.seconds
    done = tidied(store, ALL, max_seconds=60, progress=lambda *_: time.advance(5))
    assert done.expired is not None
    assert done.index is not None
    assert done.orphans is not None
    assert not done.finished
    assert min(done.index.keys, done.expired.entered_into_index + done.index.missing.number) > 0
    assert time.seconds - begun < 60 + 20 * 5  # every phase does one page at least


def test_short_runs_together_do_all_of_it(store: CheckoutStore, time: ManualClock) -> None:
    runs = 0
    while store.redis.ask(("SCARD", PENDING)) or store.redis.ask(("ZCARD", INDEX)) < NUMBER:
        tidied(store, ALL, max_seconds=20, progress=lambda *_: time.advance(5))
        runs += 1
        assert runs < 100, "one of them starves"
    assert runs > 1


def test_after_ctrl_c_nothing_more_is_begun(store: CheckoutStore) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    done = tidied(store, ALL, progress=interrupt)
    assert (done.expired, done.index, done.stopped) == (None, None, Stopped.INTERRUPTED)
    assert (done.finished, done.exit_code) == (False, ExitCode.INTERRUPTED)


def test_a_look_alone_remembers_nothing(store: CheckoutStore, time: ManualClock) -> None:
    look = Tidying(expired=True, index=True, orphans=True, dry_run=True)
    done = tidied(store, look, max_seconds=20, progress=lambda *_: time.advance(5))
    assert not done.finished
    assert store.redis.ask(("EXISTS", "checkout:job:index", "checkout:job:orphans", "checkout:job:cleanup")) == 0

"""One look at the statistics, and a watch that outlives an outage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest

from checkout_cli.clock import Clock
from checkout_cli.commands.stats.stats import STATUSES, look_back, watch
from checkout_cli.config.settings import Settings
from checkout_cli.domain.statistics import Source
from checkout_cli.errors import AccessDenied, DatabaseUnavailable, InvalidInput, TierUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import (
    ManualClock,
    database_away,
    make_store,
    make_tables,
    redis_away,
    without_database,
    without_redis,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
    with make_store(settings, clock) as made:
        make_tables(made.database)
        made.clock = Clock(made.clock.wall, made.clock.elapsed, clock.advance)  # waiting passes the time
        yield made


def test_a_look_has_the_report_of_now(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({})
    look = look_back(store, 900.0)
    assert (look.now, look.minutes, look.statuses, look.problem) == (clock.milliseconds, 15, None, None)
    assert look.report is not None
    assert look.report.total("created") == 1


def test_by_status_it_has_the_statuses_instead(store: CheckoutStore) -> None:
    store.create({})
    look = look_back(store, 60.0, by_status=True)
    assert (look.report, look.statuses) == (None, dict.fromkeys(STATUSES, 0) | {"pending": 1})


def test_by_status_needs_the_database(settings: Settings) -> None:
    with make_store(without_database(settings)) as store, pytest.raises(DatabaseUnavailable):
        look_back(store, 60.0, by_status=True)


def test_by_status_needs_no_redis(store: CheckoutStore, settings: Settings) -> None:
    with make_store(without_redis(settings)) as away:
        assert look_back(away, 60.0, by_status=True).statuses == dict.fromkeys(STATUSES, 0)


def test_a_window_that_is_not_kept_is_refused_before_anything_is_asked(settings: Settings) -> None:
    with make_store(without_redis(settings)) as store, pytest.raises(InvalidInput):
        look_back(store, 7200.0)


def test_a_watch_looks_again_after_so_many_seconds(store: CheckoutStore) -> None:
    first, second = islice(watch(store, 60.0, 5.0), 2)
    assert second.now - first.now == 5000


def test_a_watch_goes_on_while_redis_is_away_and_when_it_is_back(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({})
    looks = watch(store, 900.0, 10.0)
    sources = [next(looks).report]
    with monkeypatch.context() as outage:
        outage.setattr(store.redis, "ask_all", redis_away)
        sources.append(next(looks).report)
    sources.append(next(looks).report)
    assert [None if report is None else report.source for report in sources] == [
        Source.REDIS,
        Source.DATABASE,
        Source.REDIS,
    ]
    assert [None if report is None else report.total("created") for report in sources] == [1, 1, 1]


def test_a_watch_goes_on_while_nobody_knows_anything(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = watch(store, 900.0, 10.0)
    with monkeypatch.context() as outage:
        outage.setattr(store.redis, "ask_all", redis_away)
        outage.setattr(store.database, "snapshot", database_away)
        dark = next(looks)
    assert (dark.report, dark.statuses) == (None, None)
    assert isinstance(dark.problem, TierUnavailable)
    assert next(looks).report is not None


def test_a_watch_ends_where_waiting_does_not_help(settings: Settings) -> None:
    with make_store(replace(settings, redis_username="nobody", redis_password="wrong")) as store:
        looks = watch(store, 900.0, 10.0)
        with pytest.raises(AccessDenied):
            next(looks)

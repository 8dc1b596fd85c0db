"""What happened to checkouts in the last minutes, once or again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checkout_cli.domain.statistics import Source, Statistics, StatisticsReport, whole_minutes
from checkout_cli.errors import TierUnavailable
from checkout_cli.session import PaymentStatus
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.counts import DELETED

STATUSES = (*map(str, PaymentStatus), "other", DELETED)
"""All that a session created in the window can be now, in the order in which they are shown."""


@dataclass(frozen=True)
class StatisticsLook:
    """The last ``minutes`` at ``now`` (ms): a ``report``, ``statuses`` by current payment, or a watch's ``problem``."""

    JSON_KEYS = "timestamp@=now minutes *answer"

    now: int
    minutes: int
    report: StatisticsReport | None = None
    statuses: dict[str, int] | None = None
    problem: TierUnavailable | None = None

    @property
    def answer(self) -> StatisticsReport | dict[str, Any]:
        if self.report is not None:
            return self.report
        if self.statuses is not None:
            return {"source": Source.DATABASE, "created": sum(self.statuses.values()), "statuses": self.statuses}
        error = self.problem
        return {"source": None, "error": error and str(error), "hint": error and error.hint}


def look_back(store: CheckoutStore, since: float, *, by_status: bool = False) -> StatisticsLook:
    """The last ``since`` seconds in whole minutes; raises InvalidInput below 1 and above 60, TierUnavailable."""
    minutes, now, statistics = whole_minutes(since), store.clock.wall(), Statistics(store)
    if not by_status:
        return StatisticsLook(now, minutes, report=statistics.read(minutes, now))
    counts = statistics.by_status(minutes, now)
    return StatisticsLook(now, minutes, statuses={status: counts.get(status, 0) for status in STATUSES})


def watch(store: CheckoutStore, since: float, every: float, *, by_status: bool = False) -> Iterator[StatisticsLook]:
    """A look every so many seconds; an unavailable tier is an answer, not an error."""
    while True:
        try:
            yield look_back(store, since, by_status=by_status)
        except TierUnavailable as away:
            yield StatisticsLook(store.clock.wall(), whole_minutes(since), problem=away)
        store.clock.pause(every)

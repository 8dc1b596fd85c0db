"""What happened to checkouts in the last minutes, once or again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checkout_cli.domain.statistics import Source, Statistics, StatisticsReport, whole_minutes
from checkout_cli.errors import InvalidInput, TierUnavailable
from checkout_cli.session import PaymentStatus
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.counts import DELETED

STATUSES = (*map(str, PaymentStatus), "other", DELETED)
"""All that a session created in the window can be now, in the order in which they are shown."""
LONGEST_WAIT = 86_400.0
"""Between two looks of a watch, in seconds."""


@dataclass(frozen=True)
class StatisticsLook:
    """The last ``minutes`` at ``now`` (ms): a ``report``, ``statuses`` by current payment, or a watch's ``problem``."""

    SHOWN = "timestamp@=now minutes *answer"

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
            statuses = {status: self.statuses.get(status, 0) for status in STATUSES}
            return {"source": Source.DATABASE, "created": sum(statuses.values()), "statuses": statuses}
        error = self.problem
        return {"source": None, "error": error and str(error), "hint": error and error.hint}


class StatisticsWatch:
    def __init__(self, store: CheckoutStore, since: float, *, by_status: bool = False) -> None:
        """Look back ``since`` seconds in whole minutes; raises InvalidInput below 1 and above 60 minutes."""
        self._clock = store.clock
        self._statistics = Statistics(store)
        self._minutes = whole_minutes(since)
        self._by_status = by_status

    def look(self) -> StatisticsLook:
        """Raises TierUnavailable, AccessDenied, ConfigurationError."""
        now = self._clock.wall()
        if self._by_status:
            return StatisticsLook(now, self._minutes, statuses=self._statistics.by_status(self._minutes, now))
        return StatisticsLook(now, self._minutes, report=self._statistics.read(self._minutes, now))

    def watch(self, every: float) -> Iterator[StatisticsLook]:
        """A look every so many seconds; an unavailable tier is an answer, not an error."""
        if not 0 < every <= LONGEST_WAIT:  # NaN is neither
            raise InvalidInput(f"cannot wait for {every:g} s between looks", hint="--watch 5")
        while True:
            try:
                yield self.look()
            except TierUnavailable as away:
                yield StatisticsLook(self._clock.wall(), self._minutes, problem=away)
            self._clock.pause(every)

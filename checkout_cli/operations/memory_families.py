"""Which families of keys take Redis' memory: counted key by key, or estimated from a sample.

Nothing here writes, extends a life or disturbs what Redis remembers of the use of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from checkout_cli.errors import InvalidInput, RedisUnavailable
from checkout_cli.keys import Family
from checkout_cli.operations.cursors import checked_cursor
from checkout_cli.operations.key_measuring import Method, Throttle, all_pages, measuring
from checkout_cli.operations.key_tally import BigKey, Tally
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis_server import RedisServer

FIRST_CURSOR = "0"
MOST_BIGGEST = 1000

Progress = Callable[[int, int], None]


class Stopped(StrEnum):
    """Why not all was looked at."""

    INTERRUPTED = "interrupted"
    TIME_IS_UP = "timeIsUp"


@dataclass(frozen=True)
class Bound:
    """Between which numbers the true one lies, with 95 % certainty; ``high`` is ``None`` where nothing tells."""

    low: int
    high: int | None


@dataclass(frozen=True)
class FamilyMemory:
    """One family: keys, their bytes, those that never end, the others by time to live (``TTL_STEPS``).

    The bounds are those of an estimate; ``None`` of what was counted. ``size`` and ``without_ttl`` are ``None`` where
    this server does not tell; ``unmeasured`` are keys that are not in ``size``.
    """

    family: Family
    keys: int
    size: int | None
    without_ttl: int | None
    ttls: tuple[int, ...]
    unmeasured: int = 0
    keys_bound: Bound | None = None
    size_bound: Bound | None = None


@dataclass(frozen=True)
class FamiliesReport:
    """All families; ``timestamp`` in ms since the epoch, ``took`` in seconds.

    ``looked_at`` are keys that were measured, ``total`` what DBSIZE said at the beginning. ``sample`` is whether the
    numbers are estimates. ``cursor`` is where to go on, if ``stopped``, and ``resumed`` says that this was itself the
    going on: nothing of the part before is in the numbers. ``missing`` are servers of a cluster that did not answer.
    """

    timestamp: int
    place: str
    took: float
    families: tuple[FamilyMemory, ...]
    biggest: tuple[BigKey, ...]
    looked_at: int
    total: int | None
    method: Method
    sample: bool = False
    stopped: Stopped | None = None
    cursor: str | None = None
    resumed: bool = False
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether keys are missing from the numbers."""
        return self.stopped is not None or self.resumed or bool(self.missing)


def silent(_done: int, _total: int) -> None:
    """The progress of who does not want to know."""


def measure_families(
    store: CheckoutStore,
    *,
    cursor: str = FIRST_CURSOR,
    max_load: float = 100.0,
    max_seconds: float | None = None,
    biggest: int = 10,
    progress: Progress = silent,
) -> FamiliesReport:
    """Look at every key from a cursor on, in constant memory; Redis is ours for ``max_load`` per cent of the time.

    Ctrl-C, or the end of ``max_seconds``, ends it with what was counted until then.

    Raises:
        InvalidInput: a number or the cursor makes no sense.
        CommandDenied, CommandUnknown: SCAN is.
        RedisUnavailable: no server answers.
    """
    if not 0 < max_load <= 100:
        raise InvalidInput("--max-load is more than 0 and at most 100 per cent", hint="--max-load 25")
    if max_seconds is not None and not max_seconds > 0:
        raise InvalidInput("the time to look must be more than zero seconds", hint="--max-seconds 60")
    return _Count(store, cursor, max_load / 100, max_seconds, biggest, progress).run()


class _Count:
    """One run over all servers."""

    def __init__(
        self,
        store: CheckoutStore,
        cursor: str,
        load: float,
        max_seconds: float | None,
        biggest: int,
        progress: Progress,
    ) -> None:
        self._store = store
        self._servers = sorted(store.redis.servers(), key=lambda server: server.place)
        first, _, position = checked_cursor(cursor).rpartition("-")
        self._at, self._position = int(first or 0), int(position)
        self._resumed = cursor != FIRST_CURSOR
        if self._at >= len(self._servers):
            raise InvalidInput(f"there is no server number {self._at}", hint="begin without --cursor")
        clock = store.clock
        self._throttle = None if load == 1 else Throttle(load, clock.elapsed, clock.pause)
        self._started = clock.elapsed()
        self._stop_at = None if max_seconds is None else self._started + max_seconds
        self._progress = progress
        self._tally = Tally(biggest)
        self._methods: list[Method] = []
        self._with_ttl = True
        self._totals: list[int | None] = []
        self._notes: dict[str, None] = {}
        self._stopped: Stopped | None = None

    def run(self) -> FamiliesReport:
        missing: list[str] = []
        away: RedisUnavailable | None = None
        try:
            for number in range(self._at, len(self._servers)):
                self._at = number
                try:
                    self._count(self._servers[number])
                except RedisUnavailable as error:
                    away = error
                    missing.append(self._servers[number].place)
                if self._stopped is not None:
                    break
                self._position = 0
        except KeyboardInterrupt:
            self._stopped = Stopped.INTERRUPTED
        if away is not None and len(missing) == len(self._servers):
            raise away
        return self._report(missing)

    def _count(self, server: RedisServer) -> None:
        with measuring(server) as (talk, ways):
            self._totals.append(ways.total)
            self._methods.append(ways.method)
            self._with_ttl = self._with_ttl and ways.ttl
            self._notes.update(dict.fromkeys(ways.notes))
            for page in all_pages(talk, ways, self._position, self._throttle):
                self._tally.add(page)
                self._position = page.following
                self._progress(self._tally.looked_at, max(sum(filter(None, self._totals)), self._tally.looked_at))
                if page.following and self._stop_at is not None and self._store.clock.elapsed() >= self._stop_at:
                    self._stopped = Stopped.TIME_IS_UP
                    return

    def _report(self, missing: Sequence[str]) -> FamiliesReport:
        store, tally = self._store, self._tally
        method = max(self._methods, key=list(Method).index, default=Method.MEMORY_USAGE)  # the worst of them
        cursor = None
        if self._stopped is not None:
            cursor = f"{self._at}-{self._position}" if store.redis.is_cluster else f"{self._position}"
        families = tuple(
            FamilyMemory(
                family,
                counted.keys,
                None if method is Method.NONE else counted.size,
                counted.without_ttl if self._with_ttl else None,
                tuple(counted.ttls),
                counted.unmeasured,
            )
            for family, counted in tally.families.items()
        )
        return FamiliesReport(
            store.clock.wall(),
            store.settings.redis_place,
            store.clock.elapsed() - self._started,
            families,
            tally.biggest,
            tally.looked_at,
            sum(filter(None, self._totals)) if self._totals and None not in self._totals else None,
            method,
            stopped=self._stopped,
            cursor=cursor,
            resumed=self._resumed,
            notes=tuple(self._notes),
            missing=tuple(missing),
        )

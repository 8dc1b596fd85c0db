"""Which families of keys take Redis' memory: counted key by key, or estimated from a sample.

Nothing here writes, extends a life or disturbs what Redis remembers of the use of keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random, SystemRandom

from checkout_cli.clock import Clock
from checkout_cli.commands.memory.estimates import estimated_families
from checkout_cli.commands.memory.groups_report import FamiliesReport, FamilyMemory
from checkout_cli.commands.memory.measure import Method, Throttle, all_pages, measuring
from checkout_cli.commands.memory.sample import sample_keys
from checkout_cli.commands.memory.tally import Tally
from checkout_cli.errors import InvalidInput, RedisUnavailable
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.store.redis.admin import FIRST_CURSOR, RedisAdmin
from checkout_cli.store.redis.server import RedisServer

FULL_LOAD = 100.0
SMALLEST_SAMPLE = 1000


def look_at_families(
    redis: RedisAdmin,
    run: BoundedRun | None = None,
    *,
    sample: int | None = None,
    cursor: str = FIRST_CURSOR,
    max_load: float = FULL_LOAD,
    biggest: int = 10,
) -> FamiliesReport:
    """A sample of so many keys where one is asked for, otherwise every key.

    Raises:
        InvalidInput: a number or the cursor makes no sense, or goes with the other way only.
        CommandDenied, CommandUnknown: SCAN is.
        RedisUnavailable: no server answers.
    """
    run = run or BoundedRun()
    if sample is None:
        return measure_families(redis, run, cursor=cursor, max_load=max_load, biggest=biggest)
    if cursor != FIRST_CURSOR or max_load != FULL_LOAD or run.is_timed:
        raise InvalidInput(
            "--cursor, --max-load and --max-seconds are for looking at every key, a sample is over in a second",
            hint=f"checkoutctl memory families --sample {sample}",
        )
    return sample_families(redis, sample, clock=run.clock, biggest=biggest)


def measure_families(
    redis: RedisAdmin,
    run: BoundedRun | None = None,
    *,
    cursor: str = FIRST_CURSOR,
    max_load: float = FULL_LOAD,
    biggest: int = 10,
) -> FamiliesReport:
    """Look at every key from a cursor on, in constant memory; Redis is ours for ``max_load`` per cent of the time.

    Raises:
        InvalidInput: a number or the cursor makes no sense.
        CommandDenied, CommandUnknown: SCAN is.
        RedisUnavailable: no server answers.
    """
    if not 0 < max_load <= 100:
        raise InvalidInput("--max-load is more than 0 and at most 100 per cent", hint="--max-load 25")
    return _Count(redis, run or BoundedRun(), cursor, max_load / 100, biggest).run()


def sample_families(
    redis: RedisAdmin, number: int, *, clock: Clock | None = None, random: Random | None = None, biggest: int = 10
) -> FamiliesReport:
    """Estimate all families from about ``number`` keys, with bounds; where there are no more keys, look at all.

    Raises:
        InvalidInput: the number makes no sense.
        CommandDenied, CommandUnknown: SCAN or DBSIZE is.
        RedisUnavailable: no server answers.
    """
    if number < SMALLEST_SAMPLE:
        raise InvalidInput(f"a sample of fewer than {SMALLEST_SAMPLE} keys says nothing", hint="--sample 20000")
    clock = clock or Clock()
    started, servers = clock.elapsed(), redis.servers()
    samples = sample_keys(servers, number, random or SystemRandom(), now=clock.wall(), is_cluster=redis.is_cluster)
    if sum(sample.total for sample in samples.servers) <= number:
        return measure_families(redis, BoundedRun(clock), biggest=biggest)
    tally = Tally(biggest)
    for sample in samples.servers:
        for page in (sample.known, *(drawn.page for drawn in sample.drawn)):
            tally.add(page)
    return FamiliesReport(
        clock.wall(),
        _place(servers),
        clock.elapsed() - started,
        estimated_families(samples.servers),
        tally.biggest,
        tally.looked_at,
        sum(sample.total + len(sample.known.keys) for sample in samples.servers),
        _worst(sample.ways.method for sample in samples.servers),
        sample=True,
        notes=tuple(dict.fromkeys(note for sample in samples.servers for note in sample.ways.notes)),
        missing=samples.missing,
    )


def _place(servers: Sequence[RedisServer]) -> str:
    """Where was looked, in words."""
    return servers[0].place if len(servers) == 1 else f"{len(servers)} servers of a cluster"


def _worst(methods: Iterable[Method]) -> Method:
    """What can be said of the sizes on all servers together."""
    return max(methods, key=list(Method).index, default=Method.MEMORY_USAGE)


class _Count:
    """One run over all servers."""

    def __init__(self, redis: RedisAdmin, run: BoundedRun, cursor: str, load: float, biggest: int) -> None:
        self._run = run
        self._is_cluster = redis.is_cluster
        self._servers = sorted(redis.servers(), key=lambda server: server.place)
        first, _, position = checked_cursor(cursor).rpartition("-")
        self._at, self._position = int(first or 0), int(position)
        self._resumed = cursor != FIRST_CURSOR
        if self._at >= len(self._servers):
            raise InvalidInput(f"there is no server number {self._at}", hint="begin without --cursor")
        self._throttle = None if load == 1 else Throttle(load, run.clock.elapsed, run.clock.pause)
        self._tally = Tally(biggest)
        self._methods: list[Method] = []
        self._with_ttl = True
        self._totals: list[int | None] = []
        self._notes: dict[str, None] = {}

    def run(self) -> FamiliesReport:
        missing: list[str] = []
        away: RedisUnavailable | None = None
        with self._run.bounds():
            for number in range(self._at, len(self._servers)):
                self._at = number
                try:
                    self._count(self._servers[number])
                except RedisUnavailable as error:
                    away = error
                    missing.append(self._servers[number].place)
                self._position = 0
        if away is not None and len(missing) == len(self._servers):
            raise away
        return self._report(missing)

    def _count(self, server: RedisServer) -> None:
        with measuring(server) as (talk, ways):
            self._totals.append(ways.total)
            self._methods.append(ways.method)
            self._with_ttl = self._with_ttl and ways.ttl
            self._notes.update(dict.fromkeys(ways.notes))
            self._run.expect(ways.total or 0)
            pages = all_pages(talk, ways, self._position, self._throttle)
            for page in self._run.pages(pages, lambda page: len(page.keys)):
                self._tally.add(page)
                self._position = page.following

    def _report(self, missing: Sequence[str]) -> FamiliesReport:
        run, tally = self._run, self._tally
        method = _worst(self._methods)
        cursor = None
        if not run.finished:
            cursor = f"{self._at}-{self._position}" if self._is_cluster else f"{self._position}"
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
            run.clock.wall(),
            _place(self._servers),
            run.seconds,
            families,
            tally.biggest,
            tally.looked_at,
            sum(filter(None, self._totals)) if self._totals and None not in self._totals else None,
            method,
            stopped=run.stopped,
            cursor=cursor,
            resumed=self._resumed,
            notes=tuple(self._notes),
            missing=tuple(missing),
        )

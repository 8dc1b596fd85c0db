"""Which families of keys take Redis' memory: counted key by key, or estimated from a sample.

Nothing here writes, extends a time to live or changes what Redis remembers of the use of keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random, SystemRandom

from checkout_cli.commands.memory.estimates import estimated_families
from checkout_cli.commands.memory.measure import Allowed, Method, all_pages, measuring, throttled_pages
from checkout_cli.commands.memory.sample import sample_of
from checkout_cli.commands.memory.tally import FamiliesReport, FamilyMemory, Tally
from checkout_cli.errors import InvalidInput, RedisUnavailable
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.servers.per_server import of_each_server
from checkout_cli.store.redis.admin import FIRST_CURSOR, RedisAdmin
from checkout_cli.store.redis.server import RedisServer

FULL_LOAD = 100.0
SMALLEST_SAMPLE = 1000


def look_at_families(
    redis: RedisAdmin,
    run: BoundedRun,
    *,
    sample: int | None = None,
    cursor: str = FIRST_CURSOR,
    max_load: float = FULL_LOAD,
    biggest: int = 10,
) -> FamiliesReport:
    """A sample of so many keys where one is asked for, otherwise every key.

    Raises:
        InvalidInput: a number or the cursor makes no sense, or belongs to the other of the two allowed.
        CommandDenied, CommandUnknown: SCAN is refused, or DBSIZE for a sample.
        RedisUnavailable: no server answers.
    """
    if sample is None:
        return measure_families(redis, run, cursor=cursor, max_load=max_load, biggest=biggest)
    if cursor != FIRST_CURSOR or max_load != FULL_LOAD or run.is_timed:
        raise InvalidInput(
            "--cursor, --max-load and --max-seconds are for looking at every key, a sample is over in a second",
            hint=f"checkoutctl memory families --sample {sample:d}",
        )
    return sample_families(redis, sample, run=run, biggest=biggest)


def sample_families(
    redis: RedisAdmin, number: int, *, run: BoundedRun | None = None, random: Random | None = None, biggest: int = 10
) -> FamiliesReport:
    """Estimate all families from about ``number`` keys, with bounds; where there are no more keys, count all."""
    if number < SMALLEST_SAMPLE:
        raise InvalidInput(f"a sample of fewer than {SMALLEST_SAMPLE} keys says nothing", hint="--sample 20000")
    run, random, servers = run or BoundedRun(), random or SystemRandom(), redis.servers()
    each, now = -(-number // len(servers)), run.clock.wall()
    found = of_each_server(redis, lambda server: sample_of(server.server, each, random, now=now), clock=run.clock)
    samples = found.servers
    if sum(sample.total for sample in samples) <= number:
        return measure_families(redis, run, biggest=biggest)
    tally = Tally(biggest)
    for sample in samples:
        for page in (sample.known, *(drawn.page for drawn in sample.drawn)):
            tally.add(page)
    return FamiliesReport(
        found.timestamp,
        _place(servers),
        run.seconds,
        estimated_families(samples),
        tally.biggest,
        tally.looked_at,
        sum(sample.total + len(sample.known.keys) for sample in samples),
        _worst(sample.allowed.method for sample in samples),
        sample=True,
        notes=tuple(dict.fromkeys(note for sample in samples for note in sample.allowed.notes)),
        missing=found.missing,
    )


def _place(servers: Sequence[RedisServer]) -> str:
    return servers[0].place if len(servers) == 1 else f"{len(servers)} servers of a cluster"


def _worst(methods: Iterable[Method]) -> Method:
    return max(methods, key=list(Method).index, default=Method.MEMORY_USAGE)


def measure_families(
    redis: RedisAdmin,
    run: BoundedRun | None = None,
    *,
    cursor: str = FIRST_CURSOR,
    max_load: float = FULL_LOAD,
    biggest: int = 10,
) -> FamiliesReport:
    """Count every key from a cursor on, in constant memory; Redis is busy for at most ``max_load`` per cent."""
    if not 0 < max_load <= 100:
        raise InvalidInput("--max-load is more than 0 and at most 100 per cent", hint="--max-load 25")
    return _Count(redis, run or BoundedRun(), cursor, max_load / 100, biggest).run()


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
        self._load = load
        self._tally = Tally(biggest)
        self._ways: list[Allowed] = []

    def run(self) -> FamiliesReport:
        missing: dict[str, RedisUnavailable] = {}
        with self._run.bounds():
            for number in range(self._at, len(self._servers)):
                self._at = number
                try:
                    self._count(self._servers[number])
                except RedisUnavailable as error:
                    missing[self._servers[number].place] = error
                self._position = 0
        if len(missing) == len(self._servers):
            raise missing.popitem()[1]
        return self._report(tuple(missing))

    def _count(self, server: RedisServer) -> None:
        with measuring(server) as (talk, allowed):
            self._ways.append(allowed)
            self._run.expect(allowed.total or 0)
            if self._load == 1:
                pages = all_pages(talk, allowed, self._position)
            else:
                pages = throttled_pages(talk, allowed, self._position, self._load, self._run.clock)
            for page in self._run.pages(pages, lambda page: len(page.keys)):
                self._tally.add(page)
                self._position = page.following

    def _report(self, missing: tuple[str, ...]) -> FamiliesReport:
        run, tally = self._run, self._tally
        method = _worst(allowed.method for allowed in self._ways)
        with_ttl = all(allowed.ttl for allowed in self._ways)
        totals = [allowed.total for allowed in self._ways]
        cursor = None
        if not run.finished:
            cursor = f"{self._at}-{self._position}" if self._is_cluster else f"{self._position}"
        families = tuple(
            FamilyMemory(
                family,
                counted.keys,
                None if method is Method.NONE else counted.size,
                counted.without_ttl if with_ttl else None,
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
            sum(filter(None, totals)) if totals and None not in totals else None,
            method,
            stopped=run.stopped,
            cursor=cursor,
            resumed=self._resumed,
            notes=tuple(dict.fromkeys(note for allowed in self._ways for note in allowed.notes)),
            missing=missing,
        )

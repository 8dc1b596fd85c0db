"""One run: clear what an earlier one left, measure with Redis and without, cut Redis off, and clear up."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from checkout_cli.commands.bench.alone import SESSIONS, Compared, Pace, Side, change, compare, read
from checkout_cli.commands.bench.claims import Claim, faster_retrieval, less_load, more_users, uptime
from checkout_cli.commands.bench.crew import Crew
from checkout_cli.commands.bench.relay import KilledServer, Relay
from checkout_cli.commands.bench.shopper import Tally
from checkout_cli.commands.bench.stage import PREFIX, Target, checkouts, look, own, remove_all
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, DatabaseUnavailable, ExitCode, InvalidInput, SessionNotFound
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.servers.embedded import HOST, EmbeddedServer, uninterrupted
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore

JOB = "bench"
_ALONE, _TRAFFIC, _OUTAGE = 0.125, 0.2, 0.35
"""The shares of the time: of reading and of changing alone, of the shoppers without and with Redis, of the outage."""
_AWAY = (1 / 3, 2 / 3)
"""The beginning and the end of the outage, as shares of its part."""
_STEPS = 6
_ATTEMPTS, _PAUSE = 3, 1.0
"""How often we try to remove our sessions where the database does not answer, and the seconds between."""


class SessionsLeft(CheckoutError):
    """The benchmark ended early, and sessions of it are still there."""

    default_hint = "checkoutctl bench --seconds 2"

    def __init__(self, not_removed: CheckoutError, cause: BaseException) -> None:
        reason = str(cause) or "interrupted"
        super().__init__(f"{reason}; not all sessions of the benchmark could be removed: {not_removed}")
        self.exit_code = getattr(cause, "exit_code", ExitCode.INTERRUPTED)


@dataclass(frozen=True)
class Traffic:
    """The steps of many shoppers at once, and their cost; ``busy`` is our own processes' share of their cores."""

    JSON_KEYS = (
        "steps failed stepsPerSecond=per_second:1 queries queriesPerStep:4 servedBy=served ownProcessesBusy=busy:3 "
        "*pace"
    )

    steps: int
    failed: int
    seconds: float
    pace: Pace
    queries: int
    busy: float
    served: dict[TierName, int]

    @property
    def per_second(self) -> float:
        return (self.steps - self.failed) / self.seconds

    @property
    def queries_per_step(self) -> float:
        return self.queries / self.steps

    @classmethod
    def of(cls, tally: Tally, processes: int) -> Traffic:
        served = sum(tally.parts, start=type(tally.parts[0])())
        return cls(
            served.total(),
            served[None],
            tally.took,
            Pace.of(tally.times),
            tally.queries,
            min(tally.busy / (tally.took * processes), 1.0),
            {tier: served[tier] for tier in (TierName.REDIS, TierName.DATABASE)},
        )


class Slice(NamedTuple):
    """The steps in a part of the time: those that each tier served, and the failed ones."""

    by_redis: int
    by_database: int
    failed: int


@dataclass(frozen=True)
class Availability:
    """An outage as shoppers saw it; times are in seconds from its beginning.

    ``parts`` are the steps over time, ``lost`` the sessions that are not as they were acknowledged.
    """

    JSON_KEYS = (
        "how seconds:3 awayFromSeconds=away_from:3 awayToSeconds=away_to:3 steps failed reasons served:6 "
        "longestMs=longest:2 overTime=parts sessionsChecked=checked sessionsLost=lost.__len__"
    )

    how: str
    seconds: float
    away_from: float
    away_to: float
    steps: int
    failed: int
    reasons: dict[str, int]
    longest: float
    parts: list[Slice]
    checked: int
    lost: list[str]

    @property
    def served(self) -> float:
        return 1 - self.failed / self.steps


@dataclass
class BenchReport:
    """All measurements. Those that need Redis are ``None`` where it is unavailable."""

    JSON_KEYS = (
        "redis=target.redis database=target.database seconds shoppers processes retrieval updates traffic outage "
        "noOutage? claims removed notRemoved"
    )

    target: Target
    seconds: float
    shoppers: int
    processes: int = 0
    retrieval: Compared | None = None
    updates: Compared | None = None
    without: Traffic | None = None
    with_redis: Traffic | None = None
    outage: Availability | None = None
    no_outage: str = ""
    removed: int = 0
    not_removed: CheckoutError | None = None
    claims: list[Claim] = field(default_factory=list)

    @property
    def traffic(self) -> dict[str, Traffic | None]:
        return {"databaseOnly": self.without, "withRedis": self.with_redis}

    @property
    def exit_code(self) -> ExitCode:
        """A finding where a session was lost, Redis was unavailable, or sessions of ours are left."""
        lost = self.outage is not None and bool(self.outage.lost)
        return ExitCode.FINDING if lost or self.target.redis is None or self.not_removed else ExitCode.OK

    @property
    def next_step(self) -> str:
        return "checkoutctl doctor"


@contextlib.contextmanager
def embedded(settings: Settings) -> Iterator[tuple[Settings, KilledServer]]:
    """A server and a database of our own, removed afterwards; time-outs are those of the settings."""
    with tempfile.TemporaryDirectory(prefix="checkoutctl-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with EmbeddedServer(directory, "--save", "", "--appendonly", "yes") as server:
            defaults = Settings(
                redis_host=HOST,
                redis_port=server.port,
                database_url=f"sqlite:///{directory / 'checkout.db'}",
                timeout=settings.timeout,
                database_timeout=settings.database_timeout,
            )
            with CheckoutStore.open(defaults) as store:
                store.database.create_schema()
            yield defaults, KilledServer(server, defaults)


def examine(settings: Settings) -> Target:
    """The servers to measure; changes nothing.

    Raises:
        InvalidInput: Redis is at its limit, and a benchmark would make it evict sessions or refuse writes.
        DatabaseUnavailable, AccessDenied: there is nothing to measure.
    """
    with CheckoutStore.open(own(settings)) as store:
        target = look(store)
    if target.is_full:
        raise InvalidInput(
            f"Redis has only {target.headroom or 0:,} bytes left under its limit, too few for a benchmark",
            hint="checkoutctl memory show",
        )
    return target


def bench(
    settings: Settings,
    target: Target,
    *,
    seconds: float,
    shoppers: int,
    server: KilledServer | None = None,
    seed: int | None = None,
    run: BoundedRun | None = None,
) -> BenchReport:
    """Measure for about so many seconds; every session of ours is removed afterwards, however it ends.

    ``server`` is a server of our own, which may be killed. Signals end the run between two calls to a store, never in
    one: an interrupted call could keep a lock in the database, and then nothing could be removed.

    Raises:
        Locked: another benchmark runs on these servers.
        TierUnavailable: one of the two became unavailable.
        ShopperLost: a process of ours ended.
        SessionsLeft: it ended early, and not all sessions could be removed.
    """
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    prefix = f"{PREFIX}{seed:08x}-"
    report = BenchReport(target, seconds, shoppers)
    run = run or BoundedRun()
    run.expect(_STEPS)
    with uninterrupted() as pause, contextlib.ExitStack() as stack:
        stores = [stack.enter_context(CheckoutStore.open(own(settings, use_redis=False)))]
        if target.redis is not None:
            stores.append(stack.enter_context(CheckoutStore.open(own(settings))))
        with run.locked(stores[-1], JOB):
            if target.redis is not None:
                remove_all(stores[-1])
            try:
                with Crew(shoppers, prefix, seed, pause) as crew:
                    report.processes = crew.processes
                    sides = [_created(store, prefix, f"{seed}:{number}", pause) for number, store in enumerate(stores)]
                    _measure(report, sides, crew, settings, server, run)
            except BaseException as error:
                _clear(report, stores[-1], prefix)
                if report.not_removed is not None:
                    raise SessionsLeft(report.not_removed, error) from error
                raise
            _clear(report, stores[-1], prefix)
    report.claims = _claims(report)
    return report


def _clear(report: BenchReport, store: CheckoutStore, prefix: str) -> None:
    for _ in range(_ATTEMPTS):
        try:
            report.removed, report.not_removed = remove_all(store, prefix), None
        except CheckoutError as error:
            report.not_removed = error
        if not isinstance(report.not_removed, DatabaseUnavailable):
            return
        store.clock.pause(_PAUSE)  # shoppers that were killed may still hold its lock


def _measure(
    report: BenchReport,
    sides: Sequence[Side],
    crew: Crew,
    settings: Settings,
    server: KilledServer | None,
    run: BoundedRun,
) -> None:
    seconds = report.seconds
    run.done(1)
    report.retrieval = compare(read, sides, seconds * _ALONE, crew.pause)
    run.done(1)
    report.updates = compare(change, sides, seconds * _ALONE, crew.pause)
    run.done(1)
    report.without = Traffic.of(crew.shop(own(settings, use_redis=False), seconds * _TRAFFIC), crew.processes)
    if report.target.redis is None:
        report.no_outage = "there is no Redis"
        return
    run.done(1)
    report.with_redis = Traffic.of(crew.shop(own(settings), seconds * _TRAFFIC), crew.processes)
    run.done(1)
    if settings.is_cluster or settings.redis_sentinels:
        report.no_outage = "in a cluster or behind Sentinels there is no one way to Redis that could be cut"
        return
    with contextlib.ExitStack() as stack:
        outage = server or stack.enter_context(Relay(settings))
        report.outage = _through(outage, crew, sides[-1][0], seconds * _OUTAGE)
    run.done(1)


def _created(store: CheckoutStore, prefix: str, seed: str, pause: Callable[[float], None]) -> Side:
    new = checkouts(prefix, random.Random(seed), store.clock.wall())  # noqa: S311  (no secret)
    found = [next(new) for _ in range(SESSIONS)]
    for checkout in found:
        pause(0)
        store.create(checkout.fields, checkout_id=checkout.checkout_id)
    return store, found


def _through(outage: KilledServer | Relay, crew: Crew, store: CheckoutStore, seconds: float) -> Availability:
    away: list[float] = []

    def cut_and_mend() -> None:
        begun = time.perf_counter()
        for share, act in zip(_AWAY, (outage.cut, outage.mend), strict=True):
            crew.pause(begun + share * seconds - time.perf_counter())
            away.append(time.perf_counter() - begun)
            act()

    tally = crew.shop(own(outage.settings), seconds, cut_and_mend)
    lost = []
    for name, version in tally.promises.items():
        crew.pause(0)
        if not _kept(store, name, version):
            lost.append(name)
    return Availability(
        outage.how,
        seconds,
        away_from=away[0],
        away_to=away[1],
        steps=sum(part.total() for part in tally.parts),
        failed=sum(part[None] for part in tally.parts),
        reasons=dict(tally.reasons),
        longest=max(tally.times),
        parts=[Slice(part[TierName.REDIS], part[TierName.DATABASE], part[None]) for part in tally.parts],
        checked=len(tally.promises),
        lost=lost,
    )


def _kept(store: CheckoutStore, checkout_id: str, version: int) -> bool:
    try:
        return store.get(checkout_id).version >= version
    except SessionNotFound:
        return False


def _claims(report: BenchReport) -> list[Claim]:
    retrieval, without, with_redis, outage = report.retrieval, report.without, report.with_redis, report.outage
    assert retrieval is not None  # noqa: S101  (measured first)
    assert without is not None  # noqa: S101
    why = report.no_outage
    if outage is not None:
        gone = (outage.away_to - outage.away_from) / outage.seconds
        why = f"Redis was away for {gone:.0%} of the time; the longest step took {outage.longest:.2f} s"
    read_with_redis = None if retrieval.redis is None else retrieval.redis.p50
    served = rate = queries = None
    busy = 0.0
    if with_redis is not None:
        served = with_redis.served[TierName.REDIS] / max(with_redis.steps, 1)
        rate, queries, busy = with_redis.per_second, with_redis.queries_per_step, with_redis.busy
    return [
        faster_retrieval(retrieval.database.p50, read_with_redis, served),
        more_users(without.per_second, rate, busy),
        less_load(without.queries_per_step, queries),
        uptime(None if outage is None else outage.served, why),
    ]

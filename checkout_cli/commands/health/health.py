"""Whether sessions are served, as the shop's health endpoint says it, and if not, why.

Redis and the database are asked at the same time, each once, and nobody waits for either longer than its time-out.
Every check opens connections of its own: a connection that was kept could hide that nobody else can get in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from checkout_cli.clock import Clock
from checkout_cli.commands.ping.ping import told_more
from checkout_cli.commands.ping.start_again import answered
from checkout_cli.commands.sync.sync import UNKNOWN, PendingCounts, pending_counts
from checkout_cli.config.addresses import address_text, split_address
from checkout_cli.config.fixes import to_the_primary
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CheckoutError,
    ConfigurationError,
    ExitCode,
    ReadOnlyAccount,
    RedisEmptied,
    RedisInsufficient,
    RedisUnavailable,
    TablesRefused,
    TierUnavailable,
)
from checkout_cli.files.answered import AnswersFile
from checkout_cli.jobs import heartbeat
from checkout_cli.jobs.background import Background
from checkout_cli.jobs.heartbeat import Heartbeat
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.keys import heartbeat_key
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.memory import Memory
from checkout_cli.servers.per_server import Partial
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.external_writers import ExternalWrites
from checkout_cli.store.database_only import database_only
from checkout_cli.store.records import Count, Totals
from checkout_cli.store.redis.requirements import (
    Lack,
    concerns_caches,
    lacks_unless_reader,
    prevent_sessions,
    prevent_trust,
    told,
)
from checkout_cli.typed import typed

GRACE = 0.25
"""What a tier may take longer than its time-out before we go on without it, in seconds: its own error says more."""

_T = TypeVar("_T")


class Status(StrEnum):
    """Degraded: a tier is unavailable or takes no writes, and the store serves. Unhealthy: no durable tier is left."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


_EXIT_CODES = {
    Status.HEALTHY: ExitCode.OK,
    Status.DEGRADED: ExitCode.FINDING,
    Status.UNHEALTHY: ExitCode.UNAVAILABLE,
}


@dataclass(frozen=True)
class TierHealth:
    """One tier: whether it answers, a round trip's seconds, its problem, or advice while it serves all the same."""

    JSON_KEYS = "connected latencyMs=latency [error=problem] [advice] [hint]"

    connected: bool
    latency: float | None = None
    problem: CheckoutError | None = None
    advice: CheckoutError | None = None

    @property
    def hint(self) -> str | None:
        """What to do about its advice or problem."""
        found = self.advice or self.problem
        return None if found is None else found.hint


@dataclass(frozen=True)
class RedisHealth(TierHealth, Partial):
    """``serving``: sessions can live there. ``memory`` is ``None`` where INFO is denied or nothing answers.

    ``lacks`` is what the store needs and does not get, ``None`` where this user only looks and cannot tell. ``missing``
    are a cluster's servers that do not answer, ``cleanup`` is the last clean-up, ``server`` INFO's.
    """

    JSON_KEYS = f"{TierHealth.JSON_KEYS} partial missingServers=missing checkoutStore=serving [lacks] memory"

    serving: bool = False
    memory: Memory | None = None
    lacks: tuple[Lack, ...] | None = None
    missing: tuple[str, ...] = ()
    cleanup: Heartbeat | None = None
    server: Info | None = None


@dataclass(frozen=True)
class SessionStatistics:
    """The shop's statistics of sessions; ``None`` where unknown. ``cleanup`` is the last one."""

    JSON_KEYS = (
        "totalCreated=totals.created totalCompleted=totals.completed totalFailed=totals.failed "
        "activeSessions=count.number lastCleanup@?=cleanup.moment"
    )

    totals: Totals | None
    count: Count | None
    cleanup: Heartbeat | None


@dataclass(frozen=True)
class SessionsHealth:
    """The number of sessions, and the totals, or why there are none."""

    JSON_KEYS = (
        "count=count.number tier=count.tier exact=count.exact stats [statsReason=no_totals] [legacyStats=legacy_totals]"
    )

    count: Count | None = None
    totals: Totals | None = None
    no_totals: str | None = None
    legacy_totals: dict[str, int] | None = None
    cleanup: Heartbeat | None = None

    @property
    def stats(self) -> SessionStatistics:
        """The shop's own word for the totals and the number of sessions."""
        return SessionStatistics(self.totals, self.count, self.cleanup)


@dataclass(frozen=True)
class HealthReport:
    """All tiers at ``timestamp`` (ms since the epoch); ``external`` are external writers' writes, if it is known."""

    JSON_KEYS = (
        "timestamp@ environment redis database inMemory=memory sessions pending externalWriters=external status "
        "next?=next_step"
    )

    timestamp: int
    configuration: ConfigurationError | None
    redis: RedisHealth
    database: TierHealth
    memory: TierHealth
    sessions: SessionsHealth
    status: Status
    pending: PendingCounts = UNKNOWN
    external: ExternalWrites | None = None

    @property
    def environment(self) -> dict[str, Any]:
        """Whether the configuration is sound, and what is wrong with it."""
        problems = self.configuration.problems if self.configuration else ()
        return {"configured": not problems, "errors": list(problems)}

    @property
    def is_at_risk(self) -> bool:
        """Whether acknowledged writes are in Redis alone and cannot leave it."""
        return bool(self.pending.to_database) and self.database.problem is not None

    @property
    def exit_code(self) -> ExitCode:
        """What a monitoring system should see."""
        if self.configuration is not None or isinstance(self.database.problem, TablesRefused):
            return ExitCode.CONFIGURATION
        return _EXIT_CODES[self.status]

    @property
    def problems(self) -> tuple[CheckoutError, ...]:
        """All problems and advice, the configuration's first."""
        found = (self.configuration, self.redis.problem, self.database.problem, self.database.advice)
        return tuple(problem for problem in found if problem is not None)

    @property
    def next_step(self) -> str:
        """The one command to type: against the only problem, else for all of them; empty where all is well."""
        if self.configuration is not None or len(self.problems) == 1:
            return self.problems[0].next_step
        if self.problems:
            return "checkoutctl doctor"
        return self.pending.hint if self.pending.any else ""


class HealthCheck:
    """Checks the tiers that the settings name, once or again and again."""

    def __init__(
        self, load: Callable[[], Settings], *, clock: Clock | None = None, answers: AnswersFile | None = None
    ) -> None:
        """``load`` is called once; a configuration that is wrong is part of the answer. ``answers`` keeps who did."""
        self._clock = clock or Clock()
        self._answers = answers
        self._settings: Settings | None = None
        self._configuration: ConfigurationError | None = None
        try:
            self._settings = load()
        except ConfigurationError as error:
            self._configuration = error

    def watch(self, every: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[HealthReport]:
        """A report every so many seconds; a configuration that is wrong ends it, for it will not change."""
        while True:
            report = self.look()
            yield report
            if report.configuration is not None:
                return
            sleep(every)

    def look(self) -> HealthReport:
        """Ask all tiers."""
        if self._settings is None:
            return self._unconfigured()
        try:
            store = CheckoutStore.open(self._settings)
        except ConfigurationError as error:
            self._configuration = error
            return self._unconfigured()
        with store:
            redis, database = _asked(store, self._settings)
            redis = _compared(store, redis, database)
            began = time.perf_counter()
            store.memory.read("", self._clock.wall())
            memory = TierHealth(True, time.perf_counter() - began)
            sessions = _sessions(store, redis, database)
            self._remember(redis, sessions)
            return HealthReport(
                self._clock.wall(),
                None,
                redis,
                database,
                memory,
                sessions,
                _status(self._settings, redis, database),
                pending_counts(store, redis=redis.connected, database=database.connected),
                _tried(store.external.writes)[0] if database.connected else None,
            )

    def _remember(self, redis: RedisHealth, sessions: SessionsHealth) -> None:
        """Keep which server answers here; behind Sentinels and in a cluster, doctor does."""
        settings = self._settings
        if self._answers is None or redis.server is None or settings is None:
            return
        if settings.redis_sentinels or settings.is_cluster:
            return
        has_data = sessions.count is not None and sessions.count.number > 0
        if (told := answered(redis.server, self._clock.wall(), had_data=has_data)) is not None:
            with suppress(OSError):  # a disk without room is no reason for no answer
                self._answers.note(settings.redis_place, told)

    def _unconfigured(self) -> HealthReport:
        away, sessions = TierHealth(False), SessionsHealth(no_totals="the configuration is wrong")
        now = self._clock.wall()
        return HealthReport(now, self._configuration, RedisHealth(False), away, away, sessions, Status.UNHEALTHY)


def _asked(store: CheckoutStore, settings: Settings) -> tuple[RedisHealth, TierHealth]:
    """Redis and the database, asked at the same time; a tier that takes longer than its time-out is unavailable."""
    end = time.monotonic() + max(settings.timeout, settings.database_timeout) + GRACE
    redis, database = Background(lambda: _redis(store)), Background(lambda: _database(store))

    def silent(who: str, timeout: float) -> TierUnavailable:
        return TierUnavailable(f"{who} did not answer within {timeout:g} s")

    return (
        redis.result(end - time.monotonic()) or RedisHealth(False, problem=silent("Redis", settings.timeout)),
        database.result(end - time.monotonic())
        or TierHealth(False, problem=silent("the database", settings.database_timeout)),
    )


def _redis(store: CheckoutStore) -> RedisHealth:
    try:
        store.redis.ping()  # connects
        latency = store.redis.ping()
        *sections, beat = store.redis.info(
            "memory", "server", "replication", "cluster", value_of=heartbeat_key(CLEANUP)
        )
    except CheckoutError as error:
        return RedisHealth(False, problem=told_more(error, store.settings))
    # A section is empty where INFO is denied.
    used, server, replication, cluster = (Info.parse(raw if isinstance(raw, bytes) else b"") for raw in sections)
    memory = None if used.integer("used_memory") is None else Memory.of(store.settings.redis_place, used)
    problem = _refusal(store.settings, replication, cluster, memory)
    lacks, serving = None, False
    if problem is None:
        try:
            lacks = _lacks(store)
            serving = store.settings.enable_checkout_sessions and not prevent_trust(lacks or ())
        except CheckoutError as error:
            problem = error
    if lacks:
        what = f"Redis at {store.settings.redis_place} does not give the store what it needs: {told(lacks)}"
        problem = RedisInsufficient(what)
    missing, cleanup = tuple(store.redis.missing_servers()), heartbeat.beat_of(beat)
    if missing and problem is None:
        host, port = split_address(missing[0])
        problem = TierUnavailable(
            f"no answer from {', '.join(missing)}: the sessions there come from the database",
            hint=typed("checkoutctl --redis-host {} --redis-port {} ping", host, port),
        )
    return RedisHealth(
        True,
        latency,
        problem,
        serving=serving,
        memory=memory,
        lacks=lacks,
        missing=missing,
        cleanup=cleanup,
        server=server,
    )


def _compared(store: CheckoutStore, redis: RedisHealth, database: TierHealth) -> RedisHealth:
    """Redis, with a problem where it has lost what the database has; sessions live there all the same."""
    if not redis.serving or redis.problem is not None or not database.connected:
        return redis
    now = store.clock.wall()
    lost, _ = _tried(lambda: database_only(store.redis, store.database, store.index, now))
    if lost is None or not lost.is_loss:
        return redis
    uptime = None if redis.server is None else redis.server.integer("uptime_in_seconds")
    hint = (redis.memory and redis.memory.before_filling) or None
    return replace(redis, problem=RedisEmptied(lost.in_words(now, uptime), hint=hint))


def _lacks(store: CheckoutStore) -> tuple[Lack, ...] | None:
    """What the servers that answer lack, each once; without sessions in Redis, only what concerns caches counts."""
    found: dict[Lack, None] = {}
    for server in store.redis.servers():
        try:
            lacks = lacks_unless_reader(server)
        except RedisUnavailable:
            if not store.redis.is_cluster:
                raise
            continue
        if lacks is None:
            return None
        found |= dict.fromkeys(lacks)
    return tuple(lack for lack in found if store.settings.enable_checkout_sessions or concerns_caches(lack))


def _refusal(settings: Settings, replication: Info, cluster: Info, memory: Memory | None) -> CheckoutError | None:
    """Why a Redis that answers cannot take sessions, if it cannot."""
    place = settings.redis_place
    if cluster.integer("cluster_enabled") == 1 and not settings.is_cluster:
        return ConfigurationError(
            f"Redis at {place} is a node of a cluster", hint="checkoutctl config set REDIS_MODE=cluster"
        )
    if replication.text("role") == "slave":
        host, port = replication.text("master_host") or "?", replication.integer("master_port") or 0
        return TierUnavailable(
            f"Redis at {place} is a replica of {address_text(host, port)}: nothing can be written there",
            hint=to_the_primary(settings, host, port),
        )
    if memory is not None and memory.refuses_writes:
        return TierUnavailable(
            f"Redis at {place} is full ({memory.used:,} of {memory.limit:,} bytes) and refuses writes",
            hint="checkoutctl memory tune --advise",
        )
    return None


def _database(store: CheckoutStore) -> TierHealth:
    try:
        store.database.ping()  # connects
        latency, advice = store.database.ping(), store.database.check_schema()
    except CheckoutError as error:
        return TierHealth(False, problem=error)
    try:
        store.database.prove_write()
    except ReadOnlyAccount as error:
        return TierHealth(True, latency, advice=advice or error)
    except CheckoutError as error:
        error.hint = "checkoutctl doctor"
        return TierHealth(True, latency, error)
    return TierHealth(True, latency, advice=advice)


def _status(settings: Settings, redis: RedisHealth, database: TierHealth) -> Status:
    takes_writes = database.connected and database.problem is None
    if takes_writes and redis.connected and redis.problem is None:
        return Status.HEALTHY
    is_of_use = settings.enable_checkout_sessions and not prevent_sessions(redis.lacks or ())
    left = takes_writes or (redis.connected and is_of_use)
    return Status.DEGRADED if left else Status.UNHEALTHY


def _sessions(store: CheckoutStore, redis: RedisHealth, database: TierHealth) -> SessionsHealth:
    """Asks only tiers that have answered a moment ago, so that a hung one costs no second time-out."""
    totals, reason = None, None
    if not store.settings.enable_statistics:
        reason = "REDIS_ENABLE_STATISTICS is false"
    elif not database.connected:
        reason = "the database is away"
    else:
        totals, reason = _tried(store.database.totals)
    legacy = _tried(store.redis.legacy_statistics)[0] if redis.connected else None
    return SessionsHealth(_count(store, redis, database), totals, reason, legacy, redis.cleanup)


def _count(store: CheckoutStore, redis: RedisHealth, database: TierHealth) -> Count | None:
    now = store.clock.wall()
    in_redis = redis.connected and store.settings.enable_checkout_sessions
    if in_redis and database.connected:
        return _tried(store.admin.count)[0]
    if in_redis:
        return _tried(lambda: store.index.count(now))[0]
    if database.connected:
        return _tried(lambda: Count(store.database.count(now), TierName.DATABASE))[0]
    return None


def _tried(question: Callable[[], _T]) -> tuple[_T | None, str | None]:
    """The answer, or why there is none; the tier may have gone since it was pinged."""
    try:
        return question(), None
    except CheckoutError as error:
        return None, str(error)

"""``/metrics``: the last snapshot for Prometheus; metrics that redis_exporter has too bear its names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from checkout_cli import __version__
from checkout_cli.commands.health.health import Status
from checkout_cli.commands.health.snapshot import MINUTES, Snapshot
from checkout_cli.domain.statistics import OUTCOMES
from checkout_cli.store.redis.requirements import NEEDED

_GAUGES = {
    "redis_memory_used_bytes": ("used_memory", "Bytes that the server's data take."),
    "redis_memory_used_peak_bytes": ("used_memory_peak", "The most bytes that its data have taken."),
    "redis_memory_used_rss_bytes": ("used_memory_rss", "Bytes of memory that its process has."),
    "redis_memory_max_bytes": ("maxmemory", "The limit in bytes; 0 is none."),
    "redis_mem_fragmentation_ratio": ("mem_fragmentation_ratio", "The process' bytes for each of its data's."),
    "redis_connected_clients": ("connected_clients", "Clients that are connected."),
    "redis_blocked_clients": ("blocked_clients", "Clients that wait in a blocking command."),
    "redis_connected_slaves": ("connected_slaves", "Replicas that follow it."),
    "redis_uptime_in_seconds": ("uptime_in_seconds", "Seconds since it was started."),
}
_COUNTERS = {
    "redis_evicted_keys_total": ("evicted_keys", "Keys that were evicted because memory was full."),
    "redis_expired_keys_total": ("expired_keys", "Keys whose time was over."),
    "redis_keyspace_hits_total": ("keyspace_hits", "Lookups that found a key."),
    "redis_keyspace_misses_total": ("keyspace_misses", "Lookups that found none."),
    "redis_commands_processed_total": ("total_commands_processed", "Commands that were run."),
    "redis_connections_received_total": ("total_connections_received", "Connections that were taken."),
    "redis_rejected_connections_total": ("rejected_connections", "Connections refused because of maxclients."),
}
_ENDS = ("created", "completed", "failed")


def exposition(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """The body and its type, in the format that the client prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _gauge(name: str, meaning: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, meaning, value)


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float | None]) -> Iterator[Metric]:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        if value is not None:
            family.add_metric([key], value)
    yield family


class _Snapshot(Collector):
    """A snapshot as metrics; unknown values are left out."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from self._about_us()
        yield from self._tiers()
        yield from self._servers()
        yield from self._sessions()
        yield from self._pending()
        yield from self._external_writers()
        yield from self._minutes()
        yield from self._cleanup()

    def _about_us(self) -> Iterator[Metric]:
        taken, seconds = self._snapshot.taken_at / 1000, self._snapshot.seconds
        yield from _gauges("checkoutctl_build_info", "Which checkoutctl tells this.", "version", {__version__: 1})
        yield from _gauge("checkoutctl_snapshot_timestamp_seconds", "When all this was looked at.", taken)
        yield from _gauge("checkoutctl_snapshot_duration_seconds", "How long it took.", seconds)

    def _tiers(self) -> Iterator[Metric]:
        health = self._snapshot.health
        yield from _gauge("redis_up", "Whether Redis answers.", float(health.redis.connected))
        statuses = {str(status): float(status is health.status) for status in Status}
        yield from _gauges("checkoutctl_status", "1 for the status that health has.", "status", statuses)
        tiers = {"redis": health.redis, "database": health.database, "memory": health.memory}
        up = {name: float(tier.connected) for name, tier in tiers.items()}
        latency = {name: tier.latency for name, tier in tiers.items()}
        missing = len(health.redis.missing)
        yield from _gauges("checkoutctl_tier_up", "Whether a tier answers.", "tier", up)
        yield from _gauges("checkoutctl_tier_latency_seconds", "One round trip to it.", "tier", latency)
        yield from _gauge("checkoutctl_redis_servers_missing", "Servers of a cluster that do not answer.", missing)
        if health.redis.lacks is not None:
            lacking = {lack.command for lack in health.redis.lacks}
            missing_by_command = {name: float(name in lacking) for name in NEEDED}
            meaning = "1 for a command that the store needs, and that Redis does not know, denies or does not answer."
            yield from _gauges("checkoutctl_redis_requirement_missing", meaning, "command", missing_by_command)

    def _servers(self) -> Iterator[Metric]:
        servers = self._snapshot.servers
        for name, (field, meaning) in _GAUGES.items():
            yield from _gauges(name, meaning, "server", {place: info.number(field) for place, info in servers.items()})
        for name, (field, meaning) in _COUNTERS.items():
            counter = CounterMetricFamily(name, meaning, labels=["server"])
            for place, info in servers.items():
                number = info.number(field)
                if number is not None:
                    counter.add_metric([place], number)
            yield counter
        keys = GaugeMetricFamily("redis_db_keys", "Keys in a database.", labels=["server", "db"])
        for place, info in servers.items():
            for name in info.names("db"):
                digits = info.parts(name).get("keys", "")
                if digits.isdigit():
                    keys.add_metric([place, name], float(digits))
        yield keys

    def _sessions(self) -> Iterator[Metric]:
        sessions, statuses = self._snapshot.health.sessions, self._snapshot.statuses
        living = None if sessions.count is None else sessions.count.number
        yield from _gauge("checkoutctl_sessions", "Sessions that live.", living)
        for name in _ENDS if sessions.totals is not None else ():
            meaning = f"Sessions that were ever {name}, according to the database."
            yield CounterMetricFamily(f"checkoutctl_sessions_{name}_total", meaning, getattr(sessions.totals, name))
        if statuses is not None:
            meaning = "Sessions that live, by how their payment stands, according to the database."
            yield from _gauges("checkoutctl_sessions_by_status", meaning, "status", dict(sorted(statuses.items())))

    def _pending(self) -> Iterator[Metric]:
        pending, now = self._snapshot.health.pending, self._snapshot.taken_at
        numbers = {"redis": pending.to_redis, "database": pending.to_database}
        since = {"redis": pending.redis_since, "database": pending.database_since}
        ages = {name: 0 if at is None else max(0, now - at) / 1000 for name, at in since.items()}
        oldest = {name: ages[name] for name, number in numbers.items() if number is not None}
        meaning = "Sessions that one tier has newer than the other."
        yield from _gauges("checkoutctl_pending_sessions", meaning, "waits_for", numbers)
        meaning = "For how long the oldest of them waits."
        yield from _gauges("checkoutctl_pending_oldest_seconds", meaning, "waits_for", oldest)
        yield from _gauge("checkoutctl_conflicts", "Changes that a person has to settle.", pending.conflicts)

    def _external_writers(self) -> Iterator[Metric]:
        writes = self._snapshot.health.external
        if writes is None:
            return
        counted = {
            "writes": (writes.taken_in, "Writes of external writers that were taken in."),
            "conflicts": (writes.conflicts, "Those of them that could not stand as they were."),
            "refills": (writes.refilled, "Sessions with a missing key that came back from the database beside them."),
            "deletes": (writes.deleted, "Deletions of theirs that were proven, and stand."),
        }
        for name, (number, meaning) in counted.items():
            yield CounterMetricFamily(f"checkoutctl_external_{name}", meaning, number)
        if writes.seen_at:
            name, meaning = "checkoutctl_external_writer_seen_timestamp_seconds", "When the last such write was seen."
            yield GaugeMetricFamily(name, meaning, writes.seen_at / 1000)

    def _minutes(self) -> Iterator[Metric]:
        report = self._snapshot.report
        if report is None:
            return
        window = f"in the last {MINUTES} minutes"
        for name in _ENDS:
            yield from _gauge(f"checkoutctl_{name}_recent", f"Sessions {name} {window}.", report.total(name))
        meaning = f"Dirty sessions that were flushed to the database {window}."
        yield from _gauge("checkoutctl_flushed_recent", meaning, report.flushed)
        meaning = f"Completions for each creation {window}."
        yield from _gauge("checkoutctl_conversion_ratio", meaning, report.conversion)
        meaning = f"Reads of a cache {window}."
        reads = GaugeMetricFamily("checkoutctl_cache_reads_recent", meaning, labels=["cache", "outcome"])
        for cache, counts in (report.caches or {}).items():
            for outcome in OUTCOMES:
                reads.add_metric([cache, outcome], getattr(counts, outcome))
        yield reads
        tiers = report.tiers
        if tiers is not None:
            meaning = f"Reads of sessions {window}, by the tier that answered."
            yield from _gauges("checkoutctl_reads_recent", meaning, "tier", tiers.reads)
            meaning = f"Writes of sessions {window}, by the tier that acknowledged."
            yield from _gauges("checkoutctl_writes_recent", meaning, "tier", tiers.writes)
            meaning = f"Those writes {window} that Redis did not get."
            yield from _gauge("checkoutctl_writes_unpublished_recent", meaning, tiers.unpublished)

    def _cleanup(self) -> Iterator[Metric]:
        beat = self._snapshot.health.redis.cleanup
        if beat is None:
            return
        moment, meaning = beat.completed / 1000, "When the last one that finished ended."
        yield from _gauge("checkoutctl_cleanup_last_run_timestamp_seconds", meaning, moment)
        yield from _gauge("checkoutctl_cleanup_last_duration_seconds", "How long it took.", beat.seconds)
        yield from _gauge("checkoutctl_cleanup_last_sessions", "Sessions that it removed.", beat.sessions)

"""``/metrics``: the last snapshot in Prometheus' words; names that redis_exporter has are the same here."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from checkout_cli import __version__
from checkout_cli.commands.health.health import Status
from checkout_cli.commands.health.snapshot import MINUTES, Snapshot
from checkout_cli.domain.statistics import OUTCOMES

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


class _Snapshot(Collector):
    """A snapshot as metrics; what nobody could tell is left out."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._about_us()
        yield from self._tiers()
        yield from self._servers()
        yield from self._sessions()
        yield from self._external_writers()
        yield from self._minutes()
        yield from self._cleanup()

    def _about_us(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("checkoutctl_build_info", "Which checkoutctl tells this.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        taken = self._snapshot.taken_at / 1000
        yield GaugeMetricFamily("checkoutctl_snapshot_timestamp_seconds", "When all this was looked at.", taken)
        yield GaugeMetricFamily("checkoutctl_snapshot_duration_seconds", "How long it took.", self._snapshot.seconds)

    def _tiers(self) -> Iterator[Metric]:
        health = self._snapshot.health
        yield GaugeMetricFamily("redis_up", "Whether Redis answers.", float(health.redis.connected))
        status = GaugeMetricFamily("checkoutctl_status", "1 for the status that health has.", labels=["status"])
        for each in Status:
            status.add_metric([each], float(each is health.status))
        yield status
        tiers = {"redis": health.redis, "database": health.database, "memory": health.memory}
        up = GaugeMetricFamily("checkoutctl_tier_up", "Whether a tier answers.", labels=["tier"])
        latency = GaugeMetricFamily("checkoutctl_tier_latency_seconds", "One round trip to it.", labels=["tier"])
        for name, tier in tiers.items():
            up.add_metric([name], float(tier.connected))
            if tier.latency is not None:
                latency.add_metric([name], tier.latency)
        yield up
        yield latency
        yield GaugeMetricFamily(
            "checkoutctl_redis_servers_missing", "Servers of a cluster that do not answer.", len(health.redis.missing)
        )

    def _servers(self) -> Iterator[Metric]:
        for name, (field, meaning) in _GAUGES.items():
            yield self._of_servers(GaugeMetricFamily(name, meaning, labels=["server"]), field)
        for name, (field, meaning) in _COUNTERS.items():
            yield self._of_servers(CounterMetricFamily(name, meaning, labels=["server"]), field)
        keys = GaugeMetricFamily("redis_db_keys", "Keys in a database.", labels=["server", "db"])
        for place, info in self._snapshot.servers.items():
            for name in info.names("db"):
                number = info.parts(name).get("keys", "")
                if number.isdigit():
                    keys.add_metric([place, name], float(number))
        yield keys

    def _of_servers(self, family: GaugeMetricFamily | CounterMetricFamily, field: str) -> Metric:
        for place, info in self._snapshot.servers.items():
            number = info.number(field)
            if number is not None:
                family.add_metric([place], number)
        return family

    def _sessions(self) -> Iterator[Metric]:
        health = self._snapshot.health
        if health.sessions.count is not None:
            yield GaugeMetricFamily("checkoutctl_sessions", "Sessions that live.", health.sessions.count.number)
        if health.sessions.totals is not None:
            for name in _ENDS:
                meaning = f"Sessions that were ever {name}, according to the database."
                number = getattr(health.sessions.totals, name)
                yield CounterMetricFamily(f"checkoutctl_sessions_{name}_total", meaning, number)
        if self._snapshot.statuses is not None:
            recent = GaugeMetricFamily(
                "checkoutctl_sessions_by_status",
                "Sessions that live, by how their payment stands, according to the database.",
                labels=["status"],
            )
            for status, number in sorted(self._snapshot.statuses.items()):
                recent.add_metric([status], number)
            yield recent
        pending = GaugeMetricFamily(
            "checkoutctl_pending_sessions", "Sessions that one tier has newer than the other.", labels=["waits_for"]
        )
        for name, waiting in (("redis", health.pending.to_redis), ("database", health.pending.to_database)):
            if waiting is not None:
                pending.add_metric([name], waiting)
        yield pending
        oldest = GaugeMetricFamily(
            "checkoutctl_pending_oldest_seconds", "For how long the oldest of them waits.", labels=["waits_for"]
        )
        for name, number, since in (
            ("redis", health.pending.to_redis, health.pending.redis_since),
            ("database", health.pending.to_database, health.pending.database_since),
        ):
            if number is not None:
                oldest.add_metric([name], 0 if since is None else max(0, self._snapshot.taken_at - since) / 1000)
        yield oldest
        if health.pending.conflicts is not None:
            yield GaugeMetricFamily(
                "checkoutctl_conflicts", "Changes that a person has to settle.", health.pending.conflicts
            )

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
            number = report.total(name)
            if number is not None:
                yield GaugeMetricFamily(f"checkoutctl_{name}_recent", f"Sessions {name} {window}.", number)
        if report.conversion is not None:
            meaning = f"Completions for each creation {window}."
            yield GaugeMetricFamily("checkoutctl_conversion_ratio", meaning, report.conversion)
        reads = GaugeMetricFamily(
            "checkoutctl_cache_reads_recent", f"Reads of a cache {window}.", labels=["cache", "outcome"]
        )
        for cache, counts in (report.caches or {}).items():
            for outcome in OUTCOMES:
                reads.add_metric([cache, outcome], getattr(counts, outcome))
        yield reads

    def _cleanup(self) -> Iterator[Metric]:
        beat = self._snapshot.health.redis.cleanup
        if beat is None:
            return
        moment = beat.moment / 1000
        yield GaugeMetricFamily("checkoutctl_cleanup_last_run_timestamp_seconds", "When the last one ended.", moment)
        yield GaugeMetricFamily("checkoutctl_cleanup_last_duration_seconds", "How long it took.", beat.seconds)
        yield GaugeMetricFamily("checkoutctl_cleanup_last_sessions", "Sessions that it removed.", beat.sessions)

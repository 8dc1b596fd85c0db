"""The metrics and the alert rules, judged by promtool where it is installed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from checkout_cli.commands.serve.serving import alert_rules
from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.commands.serve.conftest import Served, started
from tests.support.command import Checkoutctl
from tests.support.divergence import write_externally
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables, wait_until

needs_promtool = pytest.mark.needs("promtool")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_tells_of_tiers_servers_and_sessions(served: Served) -> None:
    answer = served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.text)
    server = (("server", f"127.0.0.1:{served.redis.port}"),)
    assert found["redis_up", ()] == 1
    assert found["redis_memory_used_bytes", server] > 100_000
    assert found["redis_memory_max_bytes", server] == 0
    assert found["checkoutctl_status", (("status", "healthy"),)] == 1
    assert found["checkoutctl_status", (("status", "degraded"),)] == 0
    assert found["checkoutctl_sessions", ()] == 30
    assert found["checkoutctl_sessions_created_total", ()] == 30
    assert found["checkoutctl_sessions_by_status", (("status", "pending"),)] == 30
    assert found["checkoutctl_pending_sessions", (("waits_for", "redis"),)] == 0
    assert abs(found["checkoutctl_snapshot_timestamp_seconds", ()] - time.time()) < 60


def test_external_writes_and_their_conflicts_are_counters(served: Served) -> None:
    found = samples(served.get("/metrics").text)
    assert (found["checkoutctl_external_writes_total", ()], found["checkoutctl_external_conflicts_total", ()]) == (0, 0)
    assert ("checkoutctl_external_writer_seen_timestamp_seconds", ()) not in found
    with CheckoutStore.open(served.settings) as store:
        write_externally(store, "session-0001", header=False, notes="theirs")
        store.get("session-0001")
    wait_until(lambda: samples(served.get("/metrics").text)["checkoutctl_external_writes_total", ()] == 1, 30)
    found = samples(served.get("/metrics").text)
    assert found["checkoutctl_external_conflicts_total", ()] == 1
    assert found["checkoutctl_external_refills_total", ()] == found["checkoutctl_external_deletes_total", ()] == 0
    assert abs(found["checkoutctl_external_writer_seen_timestamp_seconds", ()] - time.time()) < 60


def test_reads_and_writes_are_told_by_tier(served: Served) -> None:
    def told() -> dict[str, float]:
        found = samples(served.get("/metrics").text)
        return {labels[0][1]: value for (name, labels), value in found.items() if name == "checkoutctl_reads_recent"}

    before = told()
    with CheckoutStore.open(served.settings) as store:
        store.create({}, checkout_id="tiered-0001")
        for _ in range(5):
            assert store.get("tiered-0001").tier == "redis"
    wait_until(lambda: told()["redis"] == before["redis"] + 5, 30)
    found = samples(served.get("/metrics").text)
    assert found["checkoutctl_writes_recent", (("tier", "database"),)] >= 1
    assert found["checkoutctl_redis_requirement_missing", (("command", "GETEX"),)] == 0


def test_without_scripts_the_database_is_told_to_answer(
    tmp_path: Path, valkey_server: Callable[..., ValkeyServer], settings: Settings
) -> None:
    server = valkey_server("--rename-command", "EVALSHA", "")
    its = replace(settings, redis_port=server.port)
    with CheckoutStore.open(its) as store:
        make_tables(store.database)
        store.create({}, checkout_id="tiered-0001")
        for _ in range(5):
            store.get("tiered-0001")
    served = started(tmp_path, server, its)
    try:
        found = samples(served.get("/metrics").text)
    finally:
        served.end()
    assert found["checkoutctl_reads_recent", (("tier", "database"),)] == 5
    assert found["checkoutctl_reads_recent", (("tier", "redis"),)] == 0
    assert found["checkoutctl_writes_unpublished_recent", ()] == 1
    assert found["checkoutctl_redis_requirement_missing", (("command", "EVALSHA"),)] == 1
    assert found["checkoutctl_status", (("status", "degraded"),)] == 1


def test_no_id_and_no_personal_data_is_in_them(served: Served) -> None:
    text = served.get("/metrics").text
    for personal in ("session-00", "canary", "Canary", "5550199"):
        assert personal not in text


def test_openmetrics_where_the_client_prefers_it(served: Served) -> None:
    answer = served.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_scrape_asks_no_server(served: Served) -> None:
    with served.redis.client() as client:
        before = client.info("stats")["total_commands_processed"]
        for _ in range(20):
            served.get("/metrics")
        after = client.info("stats")["total_commands_processed"]
    assert after - before < 60, "at most one snapshot can have been taken meanwhile"


def test_a_redis_that_is_away_is_down_and_the_rest_is_told(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(more={"REDIS_PORT": "1"})
    found = samples(served.get("/metrics").text)
    assert found["redis_up", ()] == 0
    assert found["checkoutctl_tier_up", (("tier", "database"),)] == 1
    assert found["checkoutctl_status", (("status", "degraded"),)] == 1
    assert not [name for name, _ in found if name.startswith("redis_memory")]


@needs_promtool
def test_promtool_accepts_the_metrics(served: Served) -> None:
    text = served.get("/metrics").text
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (check.returncode, check.stderr) == (0, ""), check


@needs_promtool
def test_promtool_accepts_the_rules(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    run = checkoutctl("serve", "--print-rules")
    assert (run.returncode, run.stderr) == (0, "")
    (tmp_path / "rules.yml").write_text(run.stdout)
    check = subprocess.run(["promtool", "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert check.returncode == 0, check


@needs_promtool
def test_each_alert_is_raised_when_it_should_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(alert_rules())
    (tmp_path / "test.yml").write_text(ALERTS)
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_rule_that_never_fires_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(alert_rules().replace("redis_up == 0", "redis_up == 2"))
    (tmp_path / "test.yml").write_text(ALERTS)
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0


def test_every_metric_of_the_rules_is_one_that_is_told(served: Served) -> None:
    import re

    wait_until(lambda: "checkoutctl_cleanup" in served.get("/metrics").text or _cleaned(served), 30)
    told = {name for name, _ in samples(served.get("/metrics").text)}
    wanted = set(re.findall(r"\b(?:redis|checkoutctl)_[a-z_]+", alert_rules().replace("checkoutctl serve", "")))
    assert wanted - told <= {"checkoutctl_cleanup_last_run_timestamp_seconds"}, wanted - told


def _cleaned(served: Served) -> bool:
    return served.post({"action": "cleanup_expired"}).status_code == 200


ALERTS = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'redis_up', values: '1x5 0x10'}
      - {series: 'checkoutctl_redis_requirement_missing{command="GETEX"}', values: '0x5 1x20'}
      - {series: 'checkoutctl_reads_recent{tier="redis"}', values: '900x5 10x20'}
      - {series: 'checkoutctl_reads_recent{tier="database"}', values: '100x5 990x20'}
      - {series: 'checkoutctl_status{status="degraded"}', values: '0x5 1x20'}
      - {series: 'checkoutctl_status{status="unhealthy"}', values: '0x20 1x10'}
    alert_rule_test:
      - {eval_time: 5m, alertname: CheckoutRedisDown, exp_alerts: []}
      - {eval_time: 5m, alertname: CheckoutRedisInsufficient, exp_alerts: []}
      - eval_time: 8m
        alertname: CheckoutRedisInsufficient
        exp_alerts:
          - exp_labels: {severity: critical, command: GETEX}
            exp_annotations:
              summary: Redis does not give the store GETEX
              description: checkoutctl doctor --only requirements
      - {eval_time: 15m, alertname: CheckoutRedisUnused, exp_alerts: []}
      - eval_time: 17m
        alertname: CheckoutRedisUnused
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations:
              summary: Redis answers fewer than half of the reads of sessions; the database or memory answers the others
              description: checkoutctl doctor --only requirements,connect
      - eval_time: 8m
        alertname: CheckoutRedisDown
        exp_alerts:
          - exp_labels: {severity: critical}
            exp_annotations:
              summary: Redis does not answer; checkouts come from the database
              description: checkoutctl ping
      - {eval_time: 8m, alertname: CheckoutDegraded, exp_alerts: []}
      - eval_time: 12m
        alertname: CheckoutDegraded
        exp_alerts:
          - exp_labels: {severity: warning, status: degraded}
            exp_annotations:
              summary: One of the tiers is away or does not serve
              description: checkoutctl health
      - {eval_time: 19m, alertname: CheckoutUnhealthy, exp_alerts: []}
      - eval_time: 23m
        alertname: CheckoutUnhealthy
        exp_alerts:
          - exp_labels: {severity: critical, status: unhealthy}
            exp_annotations:
              summary: No tier serves checkouts durably
              description: checkoutctl doctor
  - interval: 1m
    input_series:
      - {series: 'redis_memory_used_bytes{server="a:1"}', values: '50x5 95x20'}
      - {series: 'redis_memory_max_bytes{server="a:1"}', values: '100x30'}
      - {series: 'redis_memory_used_bytes{server="b:1"}', values: '95x30'}
      - {series: 'redis_memory_max_bytes{server="b:1"}', values: '0x30'}
      - {series: 'redis_evicted_keys_total{server="a:1"}', values: '7x10 8x20'}
      - {series: 'checkoutctl_pending_oldest_seconds{waits_for="redis"}', values: '0+60x30'}
      - {series: 'checkoutctl_conflicts', values: '0x3 2x30'}
      - {series: 'checkoutctl_external_conflicts_total', values: '7x10 8x20'}
    alert_rule_test:
      - {eval_time: 5m, alertname: CheckoutRedisMemory, exp_alerts: []}
      - eval_time: 13m
        alertname: CheckoutRedisMemory
        exp_alerts:
          - exp_labels: {severity: warning, server: 'a:1'}
            exp_annotations:
              summary: Redis at a:1 is 95% full
              description: checkoutctl memory show
      - {eval_time: 9m, alertname: CheckoutEvictions, exp_alerts: []}
      - eval_time: 13m
        alertname: CheckoutEvictions
        exp_alerts:
          - exp_labels: {severity: critical, server: 'a:1'}
            exp_annotations:
              summary: Redis at a:1 evicts keys, and live checkouts may be among them
              description: checkoutctl memory show, then checkoutctl memory tune --advise
      - {eval_time: 5m, alertname: CheckoutPending, exp_alerts: []}
      - eval_time: 12m
        alertname: CheckoutPending
        exp_alerts:
          - exp_labels: {severity: warning, waits_for: redis}
            exp_annotations:
              summary: What the other tier has, has waited for redis for 12m 0s
              description: checkoutctl sync
      - {eval_time: 9m, alertname: CheckoutExternalConflicts, exp_alerts: []}
      - eval_time: 13m
        alertname: CheckoutExternalConflicts
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations:
              summary: Another program writes sessions in a way that cannot all stand
              description: checkoutctl doctor --only external-writers, then checkoutctl sync --conflicts
      - eval_time: 10m
        alertname: CheckoutConflicts
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations:
              summary: 2 changes wait for a person
              description: checkoutctl sync --conflicts
  - interval: 1m
    input_series:
      - {series: 'redis_up{job="a"}', values: '1x90'}
    alert_rule_test:
      - {eval_time: 50m, alertname: CheckoutCleanupMissing, exp_alerts: []}
      - eval_time: 70m
        alertname: CheckoutCleanupMissing
        exp_alerts:
          - exp_labels: {severity: warning, job: a}
            exp_annotations:
              summary: Redis knows of no clean-up
              description: checkoutctl cleanup --expired; checkoutctl cron status
  - interval: 1m
    input_series:
      - {series: 'redis_up', values: '1x90'}
      - {series: 'checkoutctl_cleanup_last_run_timestamp_seconds', values: '0x90'}
      - {series: 'checkoutctl_snapshot_timestamp_seconds', values: '0x90'}
    alert_rule_test:
      - {eval_time: 70m, alertname: CheckoutCleanupMissing, exp_alerts: []}
      - {eval_time: 60m, alertname: CheckoutCleanupOverdue, exp_alerts: []}
      - eval_time: 70m
        alertname: CheckoutCleanupOverdue
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations:
              summary: No clean-up has run for 1h 10m 0s
              description: checkoutctl cleanup --expired; checkoutctl cron status
      - {eval_time: 1m, alertname: CheckoutNotLookedAt, exp_alerts: []}
      - eval_time: 5m
        alertname: CheckoutNotLookedAt
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations:
              summary: The last look at the tiers is more than two minutes old
              description: see the log of checkoutctl serve
  - interval: 1m
    input_series:
      - {series: 'checkoutctl_conversion_ratio', values: '0.8x1500 0.2x60'}
      - {series: 'checkoutctl_created_recent', values: '100x1600'}
    alert_rule_test:
      - {eval_time: 1500m, alertname: CheckoutConversionDrop, exp_alerts: []}
      - eval_time: 1530m
        alertname: CheckoutConversionDrop
        exp_alerts:
          - exp_labels: {severity: critical}
            exp_annotations:
              summary: Of new checkouts 20% are completed, less than half of the usual
              description: checkoutctl stats; checkoutctl sessions list --status failed
"""

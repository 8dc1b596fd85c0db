"""Health as JSON, field for field as specified, and as text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkout_cli.commands.health.health import (
    HealthReport,
    RedisHealth,
    SessionsHealth,
    Status,
    TierHealth,
)
from checkout_cli.commands.health.view import show_health, show_watch
from checkout_cli.commands.sync.sync import PendingCounts
from checkout_cli.errors import ConfigurationError, RedisUnavailable
from checkout_cli.jobs.heartbeat import Heartbeat
from checkout_cli.servers.memory import Memory
from checkout_cli.session import TierName
from checkout_cli.store.database.external_writers import DAY, ExternalWrites
from checkout_cli.store.records import Count, Totals
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import begin_run

SPECIFIED = json.loads("""
{
  "timestamp": "2024-01-15T10:30:00.000Z",
  "environment": {"configured": true, "errors": []},
  "redis": {"connected": true, "checkoutStore": true},
  "database": {"connected": true},
  "sessions": {"count": 5, "stats": {"totalCreated": 100, "totalCompleted": 85, "totalFailed": 15}},
  "status": "healthy"
}
""")

HEALTHY = HealthReport(
    timestamp=1_705_314_600_000,
    configuration=None,
    redis=RedisHealth(
        True,
        0.0002,
        serving=True,
        memory=Memory("here", 2**20, 2**28, policy="noeviction"),
        cleanup=Heartbeat("2024-01-15T10:25:00.000Z", 0.1, True, 0),
    ),
    database=TierHealth(True, 0.0004),
    memory=TierHealth(True, 0.000002),
    sessions=SessionsHealth(
        Count(5, TierName.REDIS),
        Totals(100, 85, 15),
        cleanup=Heartbeat("2024-01-15T10:25:00.000Z", 0.1, True, 0),
    ),
    status=Status.HEALTHY,
)
AWAY = HealthReport(
    timestamp=1_705_314_600_000,
    configuration=None,
    redis=RedisHealth(False, problem=RedisUnavailable("gone\x1b]0;x\x07", hint="checkoutctl ping")),
    database=TierHealth(True, 0.0004),
    memory=TierHealth(True, 0.000002),
    sessions=SessionsHealth(Count(5, TierName.DATABASE), Totals(100, 85, 15), None, {"totalCreated": 7}),
    status=Status.DEGRADED,
)
UNCONFIGURED = HealthReport(
    timestamp=1_705_314_600_000,
    configuration=ConfigurationError("REDIS_PORT is wrong", "REDIS_DB is wrong"),
    redis=RedisHealth(False),
    database=TierHealth(False),
    memory=TierHealth(False),
    sessions=SessionsHealth(no_totals="the configuration is wrong"),
    status=Status.UNHEALTHY,
)


def contained(part: object, whole: object) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and contained(part[name], whole[name]) for name in part)
    return part == whole


def test_every_field_of_the_specification_is_there_as_specified() -> None:
    assert contained(SPECIFIED, document(HEALTHY))
    assert not contained(SPECIFIED, document(AWAY))


def test_what_we_add_is_there_too() -> None:
    shown = document(HEALTHY)
    assert shown["inMemory"] == {"connected": True, "latencyMs": 0.002}
    assert shown["redis"]["latencyMs"] == 0.2
    assert shown["redis"]["memory"] == {"usedBytes": 2**20, "maxBytes": 2**28, "policy": "noeviction"}
    assert (shown["sessions"]["tier"], shown["sessions"]["exact"]) == ("redis", True)
    assert "legacyStats" not in shown["sessions"]
    assert "error" not in shown["redis"]


def test_the_statistics_have_the_live_sessions_and_the_last_cleanup_too() -> None:
    assert document(HEALTHY)["sessions"]["stats"] == {
        "totalCreated": 100,
        "totalCompleted": 85,
        "totalFailed": 15,
        "activeSessions": 5,
        "lastCleanup": "2024-01-15T10:25:00.000Z",
    }


def test_what_cannot_be_known_of_them_is_null() -> None:
    assert document(AWAY)["sessions"]["stats"]["lastCleanup"] is None
    assert set(document(UNCONFIGURED)["sessions"]["stats"].values()) == {None}
    assert document(SessionsHealth(cleanup=Heartbeat("yesterday", 0.1, True, 0)).stats)["lastCleanup"] is None


@pytest.mark.parametrize(
    ("pending", "step"),
    [
        (PendingCounts(1, 0, 1), "checkoutctl sync"),
        (PendingCounts(0, 2, 0), "checkoutctl sync"),
        (PendingCounts(0, 0, 1), "checkoutctl sync --conflicts"),
    ],
)
def test_what_only_a_person_can_decide_is_shown_and_the_rest_synced(
    pending: PendingCounts, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_run("", "")
    show_health(replace(HEALTHY, pending=pending), as_json=False)
    assert capsys.readouterr().err == f"next: {step}\n"


def test_external_writers_are_told_while_they_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert document(HEALTHY)["externalWriters"] is None
    seen = replace(HEALTHY, external=ExternalWrites(12, 1, 3, 0, HEALTHY.timestamp - 90_000))
    assert document(seen)["externalWriters"] == {
        "takenIn": 12,
        "conflicts": 1,
        "refilled": 3,
        "deleted": 0,
        "lastSeen": "2024-01-15T10:28:30.000Z",
    }
    show_health(seen, as_json=False)
    assert "external writers: last seen 1m ago; 12 writes taken in, 1 conflict\n" in capsys.readouterr().out
    never, long_ago = ExternalWrites(), ExternalWrites(12, 1, 3, 0, HEALTHY.timestamp - DAY)
    for writes in (never, long_ago):
        show_health(replace(HEALTHY, external=writes), as_json=False)
        assert "external" not in capsys.readouterr().out
    assert document(replace(HEALTHY, external=never))["externalWriters"]["lastSeen"] is None


def test_a_tier_that_is_away_has_an_error_and_a_hint() -> None:
    shown = document(AWAY)
    assert shown["redis"]["connected"] is False
    assert shown["redis"]["latencyMs"] is None
    assert shown["redis"]["memory"] is None
    assert shown["redis"]["error"].startswith("gone")
    assert shown["redis"]["hint"] == "checkoutctl ping"
    assert shown["sessions"]["legacyStats"] == {"totalCreated": 7}


def test_a_wrong_configuration_lists_its_errors() -> None:
    shown = document(UNCONFIGURED)
    assert shown["environment"] == {"configured": False, "errors": ["REDIS_PORT is wrong", "REDIS_DB is wrong"]}
    assert shown["sessions"]["statsReason"] == "the configuration is wrong"
    assert shown["status"] == "unhealthy"


def test_text_says_status_tiers_and_what_to_type_next(capsys: pytest.CaptureFixture[str]) -> None:
    begin_run("", "")
    show_health(AWAY, as_json=False)
    text, told = capsys.readouterr()
    assert text.startswith("status: degraded\n")
    assert "redis     away" in text
    assert "database  connected  0.400 ms" in text
    assert "sessions: 5 (from database)" in text
    assert "statistics: 100 created, 85 completed, 15 failed" in text
    assert told == "next: checkoutctl ping\n"
    assert "\x1b" not in text


def test_text_of_a_wrong_configuration_names_each_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_health(UNCONFIGURED, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "status: unhealthy",
        "wrong: REDIS_PORT is wrong",
        "wrong: REDIS_DB is wrong",
    ]


def test_watching_off_a_terminal_is_a_line_a_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_watch(iter([HEALTHY, AWAY]), as_json=False) is AWAY
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2024-01-15T10:30:00.000Z healthy redis=0.200ms database=0.400ms memory=0.002ms sessions=5"
    assert second.startswith("2024-01-15T10:30:00.000Z degraded redis=away ")
    assert second.isprintable()


def test_watching_as_json_is_a_document_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_watch(iter([HEALTHY, AWAY]), as_json=True)
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [shown["status"] for shown in documents] == ["healthy", "degraded"]
    assert all(shown["schemaVersion"] == 1 for shown in documents)


def test_a_terminal_gets_a_view_without_control_characters_of_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout_cli.commands.health.view.is_terminal", lambda _: True)
    begin_run("", "")
    show_health(AWAY, as_json=False)
    text = capsys.readouterr().out
    assert text.startswith("DEGRADED")
    assert "\x1b]0" not in text
    assert "\\x1b]0;x\\x07" in text

"""How a sync and conflicts look: in words, in JSON, and nothing personal in either."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from checkout_cli.commands.sync.conflicts import Conflicts, Keep, Resolution
from checkout_cli.commands.sync.conflicts_view import (
    describe_conflict,
    differences,
    show_conflicts,
    show_resolution,
)
from checkout_cli.commands.sync.sync import PendingCounts, Stuck, SyncReport
from checkout_cli.commands.sync.view import narrate_pending, pending_text, show_sync
from checkout_cli.errors import RedisUnavailable
from checkout_cli.jobs.bounded_run import Stopped
from checkout_cli.session import iso
from checkout_cli.store.backlog import Waiting
from checkout_cli.store.database.flush_log import Conflict
from checkout_cli.terminal.document import document

NOW = 1_700_000_000_000
ID = "4645c59d-c428-4017-af90-a43ee2787c34"
WRITE = "3f2b9c1e-0000-4000-8000-000000000000"
HOSTILE = "\x1b]0;owned\x07[red]\u202e"

Captured = pytest.CaptureFixture[str]


def conflict(
    found: dict[str, Any] | None,
    written: dict[str, Any] | bytes,
    *,
    found_version: int | None = 5,
    source: str = "redis",
    result: str = "conflict",
) -> Conflict:
    body = None if found is None else json.dumps(found).encode()
    raw = written if isinstance(written, bytes) else json.dumps(written).encode()
    return Conflict(WRITE, ID, source, result, 3, found_version, raw, body, NOW - 120_000)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (PendingCounts(3, 1, 0), "3 sessions wait for Redis, 1 for the database"),
        (PendingCounts(1, 0, 0), "1 session waits for Redis"),
        (PendingCounts(0, 1, 1), "1 session waits for the database, 1 conflict waits for a person"),
        (PendingCounts(5000, None, 0, exact=False), "5,000 sessions or more wait for Redis"),
        (PendingCounts(0, 0, 0), ""),
        (PendingCounts(None, None, None), ""),
    ],
)  # fmt: skip
def test_what_waits_in_one_line(counts: PendingCounts, text: str, capsys: Captured) -> None:
    assert pending_text(counts) == text
    narrate_pending(counts)
    assert capsys.readouterr() == ("", f"{text}; checkoutctl sync\n" if text else "")


def test_for_how_long_the_oldest_waits_is_told_where_it_is_known() -> None:
    counts = PendingCounts(2, 1, 0, redis_since=NOW - 90_000, database_since=NOW - 700_000)
    assert pending_text(counts, NOW) == "2 sessions wait for Redis, 1 for the database, the oldest for 11m"
    assert pending_text(counts) == "2 sessions wait for Redis, 1 for the database"
    assert document(counts)["oldestSince"] == iso(NOW - 700_000)


def test_what_is_not_known_is_null() -> None:
    assert document(PendingCounts(None, 2, None)) == {
        "toRedis": None,
        "toDatabase": 2,
        "conflicts": None,
        "oldestSince": None,
    }


def test_a_run_in_words(capsys: Captured) -> None:
    report = SyncReport(NOW, to_redis=Waiting(3, NOW - 150_000), to_database=Waiting(1, NOW - 40_000), conflicts=0)
    report.published, report.not_needed, report.expired, report.flushed = 1, 2, 1, 1
    show_sync(report, as_json=False, quiet=False)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "database to Redis: 3 sessions wait, the oldest for 2m",
        "Redis to database: 1 session waits, the oldest for 40s",
        "conflicts: none",
        "flushed to the database: 1",
        "synced to Redis: 1 published, 2 settled without a copy there, 1 expired",
    ]
    assert shown.err == ""


def test_external_writes_are_told_in_words_and_as_json(capsys: Captured) -> None:
    report = SyncReport(NOW, to_redis=Waiting(0), to_database=Waiting(1), conflicts=0)
    report.flushed, report.external, report.disputed = 1, 3, 2
    show_sync(report, as_json=False, quiet=False)
    shown = capsys.readouterr()
    assert shown.out.splitlines()[3:] == [
        "flushed to the database: 1",
        "external writes taken in: 3",
        "kept as conflicts: 2",
    ]
    assert shown.err == "warning: 2 conflicts wait for a person\n"
    show_sync(report, as_json=True, quiet=False)
    done = json.loads(capsys.readouterr().out)["handedOver"]
    assert (done["toDatabase"]["flushed"], done["externalWrites"], done["conflicts"]) == (1, {"takenIn": 3}, 2)


def test_quiet_is_silent_on_success_and_not_otherwise(capsys: Captured) -> None:
    show_sync(SyncReport(NOW, to_redis=Waiting(1, NOW), to_database=Waiting(0), conflicts=0), as_json=False, quiet=True)
    assert capsys.readouterr() == ("", "")
    report = SyncReport(NOW, conflicts=2, lost=1, unreachable=[RedisUnavailable("Redis is away")])
    report.stuck, report.stuck_number = [Stuck(f"{HOSTILE}-0001", "not a string")], 3
    show_sync(report, as_json=False, quiet=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "warning: not synced: Redis is away",
        (
            "warning: 1 session is gone from Redis (expired, evicted, or overwritten by an external writer) before the "
            "database had all of it"
        ),
        "warning: 3 sessions cannot be synced: \\x1b]0;owne (not a string), and 2 more",
        "warning: 2 conflicts wait for a person",
    ]


def test_a_run_as_json(capsys: Captured) -> None:
    report = SyncReport(NOW, to_redis=Waiting(2, NOW - 5000), to_database=None, conflicts=None, stopped=Stopped.TIME)
    report.stuck, report.stuck_number = [Stuck(ID, "why")], 1
    show_sync(report, as_json=True, quiet=False)
    shown = json.loads(capsys.readouterr().out)
    assert shown["pending"] == {
        "toRedis": {"count": 2, "oldestSeconds": 5, "exact": True},
        "toDatabase": None,
        "conflicts": None,
    }
    assert shown["stuck"] == {"count": 1, "sessions": [{"checkoutId": ID[:8], "reason": "why"}]}
    assert shown["finished"] is False


def test_only_fields_that_differ_are_shown_and_where_exactly() -> None:
    found = {"totalAmount": 1, "couponCode": "A", "items": [{"quantity": 1}, {"quantity": 2}], "expiresAt": "x"}
    written = {"totalAmount": 1, "deliveryZone": "B", "items": [{"quantity": 1}, {"quantity": 3}], "expiresAt": "y"}
    shown = [
        (field, one if isinstance(one, (str, int)) else None) for field, one, _ in differences(conflict(found, written))
    ]
    assert shown == [("couponCode", "A"), ("items[1].quantity", 2), ("deliveryZone", None)]


def test_personal_data_is_masked_and_still_told_apart(capsys: Captured) -> None:
    found = {"contactInfo": {"name": "Ada", "phone": "123"}, "notes": "ring"}
    written = {"contactInfo": {"name": "Ada", "phone": "456"}, "notes": "ring"}
    for output in ("table", "json", "ndjson"):
        show_conflicts(Conflicts(NOW, [conflict(found, written)], 1), output, reveal=False)
        shown = capsys.readouterr()
        assert "contactInfo.phone" in shown.out
        assert not any(secret in shown.out + shown.err for secret in ("Ada", "123", "456", "ring"))
    assert "contactInfo.name" not in [field for field, _, _ in differences(conflict(found, written))]
    show_conflicts(Conflicts(NOW, [conflict(found, written)], 1), "table", reveal=True)
    assert "456" in capsys.readouterr().out
    assert not any("456" in line for line in describe_conflict(conflict(found, written), NOW))


def test_a_conflict_says_when_from_where_and_what_it_grew_from(capsys: Captured) -> None:
    cases = [
        (conflict({"a": 1}, {"a": 2}), "it grew from version 3, and the database had version 5"),
        (conflict(None, {"a": 2}), "it grew from version 3, and the session was deleted in version 5"),
        (conflict(None, {"a": 2}, found_version=None), "it grew from version 3, and the database had no such session"),
    ]
    for made, said in cases:
        show_conflicts(Conflicts(NOW, [made], 9), "table", reveal=False)
        shown = capsys.readouterr()
        assert f"write {WRITE} of session {ID}, from Redis, 2m ago: {said}" in shown.out
        assert "the newest 1 of 9: --limit" in shown.err


def test_conflicts_are_a_list_like_any_other(capsys: Captured) -> None:
    made = conflict({"notes": "ring"}, {"notes": "knock"})
    show_conflicts(Conflicts(NOW, [made], 1), "ids", reveal=False)
    assert capsys.readouterr().out == f"{WRITE}\n"
    show_conflicts(Conflicts(NOW, [made], 1), "csv", reveal=False)
    titles, cells = (line.split(",") for line in capsys.readouterr().out.splitlines())
    row = dict(zip(titles, cells, strict=True))
    assert (row["writeId"], row["checkoutId"], row["foundVersion"], row["deleted"]) == (WRITE, ID, "5", "false")
    for output in ("table", "csv", "ids"):
        show_conflicts(Conflicts(NOW, [], 0), output, reveal=False)
        assert capsys.readouterr().err == "no conflicts\n"


def test_a_conflict_of_an_external_writer_says_what_became_of_it(capsys: Captured) -> None:
    made = conflict({"a": 1}, {"a": 2}, source="external", result="partly applied")
    show_conflicts(Conflicts(NOW, [made], 1), "table", reveal=False)
    assert "from an external writer, 2m ago: it grew from version 3, and the database had version 5; partly app" in (
        capsys.readouterr().out
    )
    show_conflicts(Conflicts(NOW, [made], 1), "json", reveal=False)
    (shown,) = json.loads(capsys.readouterr().out)["conflicts"]
    assert (shown["source"], shown["result"], shown["written"]) == ("external", "partly applied", {"a": "********"})


def test_bytes_that_are_no_json_are_told_by_their_number_and_shown_when_revealed(capsys: Captured) -> None:
    made = conflict({"notes": "ring"}, b"\xff\x00canary" + HOSTILE.encode(), source="external")
    size = len(made.written)
    for reveal in (False, True):
        show_conflicts(Conflicts(NOW, [made], 1), "table", reveal=reveal)
        shown = capsys.readouterr()
        assert f"{size} bytes, no session" in shown.out
        assert "canary" not in shown.out + shown.err
    show_conflicts(Conflicts(NOW, [made], 1), "json", reveal=False)
    (masked,) = json.loads(capsys.readouterr().out)["conflicts"]
    assert (masked["written"], masked["writtenBytes"], masked["writtenBase64"]) == (None, size, None)
    show_conflicts(Conflicts(NOW, [made], 1), "json", reveal=True)
    (revealed,) = json.loads(capsys.readouterr().out)["conflicts"]
    assert base64.b64decode(revealed["writtenBase64"]) == made.written
    assert f"{size} bytes, no session" in "\n".join(describe_conflict(made, NOW))


def test_hostile_text_is_spelled_out(capsys: Captured) -> None:
    made = conflict({HOSTILE: 1, "couponCode": HOSTILE}, {HOSTILE: 2, "couponCode": "x"})
    for reveal in (False, True):
        show_conflicts(Conflicts(NOW, [made], 1), "table", reveal=reveal)
        shown = capsys.readouterr()
        assert not any(character in shown.out + shown.err for character in "\x1b\x07\u202e")


def test_a_settled_conflict(capsys: Captured) -> None:
    made = conflict({"a": 1}, {"a": 2})
    show_resolution(Resolution(made, Keep.WRITTEN, done=True, version=6), as_json=False)
    assert capsys.readouterr().out == f"settled {WRITE}: written kept, version 6\n"
    show_resolution(Resolution(made, Keep.DATABASE, done=False), as_json=True)
    assert json.loads(capsys.readouterr().out)["settled"] is False

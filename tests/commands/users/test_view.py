from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from checkout_cli.commands.users.users import FoundUser
from checkout_cli.commands.users.view import show_list, show_user
from checkout_cli.domain.users import Oddity, User
from checkout_cli.jobs.key_scan import KeyScan
from checkout_cli.session import PaymentStatus, iso

NOW = 1_700_000_000_000
UUID = "4645c59d-c428-4017-af90-a43ee2787c34"
HOSTILE = "user\x1b]0;owned\x07\x9b2J\u202e[red][/]\r\n"

Captured = pytest.CaptureFixture[str]


def user(user_id: str = UUID, **changes: Any) -> User:
    facts: dict[str, Any] = {
        "first_seen": iso(NOW - 3_600_000),
        "last_seen": iso(NOW - 120_000),
        "checkouts_started": 3,
        "checkouts_completed": 1,
        "checkouts_failed": 2,
        "last_status": PaymentStatus.FAILED,
        "expires_in": 86_280_000,
    }
    return User(user_id, **(facts | changes))


def listed(*users: User, cursor: str | None = None, enabled: bool = True) -> KeyScan[User]:
    found = {user.user_id: user for user in users}
    return KeyScan(found=found, cursor=cursor, looked_at=1000, now=NOW, enabled=enabled)


def test_a_list_in_a_pipe_is_plain_and_says_what_matters(capsys: Captured) -> None:
    show_list(listed(user()), "table")
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split("  ")[0] == "4645…"
    for part in ("3", "1", "2", "failed", "2m ago", "1h ago", "23h"):
        assert part in out
    assert "note" not in out
    assert err == ""


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv", "ids"])
def test_ids_are_shortened_in_every_format_unless_revealed(output: str, capsys: Captured) -> None:
    show_list(listed(user(), user("u-1"), user("ada@example.com")), output)
    hidden = capsys.readouterr().out
    assert not any(name in hidden for name in (UUID, UUID[:5], "u-1", "ada"))
    show_list(listed(user(), user("u-1")), output, reveal=True)
    shown = capsys.readouterr().out
    assert UUID in shown
    assert "u-1" in shown


def test_one_user_is_shortened_unless_revealed_in_both_forms(capsys: Captured) -> None:
    for as_json in (True, False):
        show_user(FoundUser(user(), NOW, True), as_json=as_json)
        assert UUID[:5] not in capsys.readouterr().out
        show_user(FoundUser(user(), NOW, True), as_json=as_json, reveal=True)
        assert UUID in capsys.readouterr().out


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv", "ids"])
def test_a_hostile_id_reaches_no_terminal(output: str, capsys: Captured) -> None:
    show_list(listed(user(HOSTILE)), output, reveal=True)
    show_user(FoundUser(user(HOSTILE), NOW, True), as_json=output == "json", reveal=True)
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\u202e")


def test_the_documents_have_stable_names(capsys: Captured) -> None:
    show_list(listed(user(), cursor="17"), "json")
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["schemaVersion"], document["nextCursor"], document["lookedAt"]) == (1, "17", 1000)
    assert document["users"] == [
        {
            "userId": "4645…",
            "checkoutsStarted": 3,
            "checkoutsCompleted": 1,
            "checkoutsFailed": 2,
            "lastStatus": "failed",
            "firstSeen": iso(NOW - 3_600_000),
            "lastSeen": iso(NOW - 120_000),
            "expiresAt": iso(NOW + 86_280_000),
            "expiresInSeconds": 86_280,
            "problem": None,
            "detail": None,
        }
    ]
    assert "--cursor 17" in err


def test_csv_has_a_title_and_a_cell_for_each_field(capsys: Captured) -> None:
    show_list(listed(user(), user("=cmd()", expires_in=None)), "csv", reveal=True)
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert first["checkoutsStarted"] == "3"
    assert second["userId"] == "'=cmd()"
    assert second["expiresAt"] == ""


def test_what_is_no_tracking_is_a_row_that_says_so(capsys: Captured) -> None:
    odd = User("json-one", problem=Oddity.WRONG_TYPE, detail="a string, not a hash")
    show_list(listed(odd, user()), "table")
    assert "wrong type" in capsys.readouterr().out
    show_user(FoundUser(odd, NOW, True), as_json=False)
    out = capsys.readouterr().out
    assert "a string, not a hash" in out
    assert "never" in out
    assert "checkoutsStarted" not in out


def test_nobody_and_a_switch_that_is_off_are_told_on_stderr(capsys: Captured) -> None:
    show_list(listed(enabled=False), "ids")
    out, err = capsys.readouterr()
    assert out == ""
    assert "no users are tracked" in err
    assert "config show" in err

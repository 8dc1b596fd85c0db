from __future__ import annotations

import pytest

from checkout_cli.commands.acl.check import Capabilities, Capability, Source
from checkout_cli.commands.acl.roles import NO_ROLE, ROLES, RoleName
from checkout_cli.commands.acl.view import show_check, show_roles


def found(*commands: Capability, **facts: object) -> Capabilities:
    return Capabilities("me", ROLES[RoleName.READER], Source.TRANSACTION, commands, **{"lacking": (), **facts})  # type: ignore[arg-type]


def test_a_server_that_is_too_old_for_users_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    show_check(found(Capability("ping"), version=(5, 0)), as_json=False)
    assert "warning: this server is older than Redis 6: it has no users" in capsys.readouterr().err
    show_check(found(Capability("ping"), version=(6, 2)), as_json=False)
    assert "older" not in capsys.readouterr().err


def test_commands_that_the_server_lacks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    show_check(found(Capability("ping"), absent=("client|no-touch", "info")), as_json=False)
    assert "this server has no CLIENT NO-TOUCH, INFO\n" in capsys.readouterr().err


def test_a_grant_that_is_both_needed_and_of_help_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    show_check(found(Capability("sync", ("+evalsha",), ("+evalsha", "+hset"))), as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["sync", "fails", "+evalsha", "+hset"]


def test_what_a_role_shares_with_another_is_not_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    show_roles(as_json=False)
    shown = capsys.readouterr()
    operator = next(line for line in shown.out.splitlines() if line.startswith("operator"))
    assert "all that reader may, and sync" in operator
    assert "slowlog --reset" in operator
    assert "health" not in operator
    assert all(name in shown.err for name in NO_ROLE)

"""Where nothing says where the servers are, a command says that it uses defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Checkoutctl

NOTE = "note: no .env.local in "


@pytest.mark.parametrize(
    "command",
    [
        ("health",),
        ("health", "--json"),
        ("sessions", "list"),
        ("config", "show", "--json"),
        ("doctor", "--only", "install"),
        ("ping", "--count", "1"),
    ],
)
def test_outside_a_configured_directory_a_command_says_once_that_it_uses_defaults(
    command: tuple[str, ...], checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    nothing = {"REDIS_HOST": "", "REDIS_PORT": "", "DATABASE_URL": ""}
    done = checkoutctl(*command, env=nothing)
    assert done.stderr.count(NOTE) == 1
    assert str(tmp_path) in done.stderr
    assert NOTE not in done.stdout
    for configured in ({**nothing, "REDIS_HOST": "127.0.0.1"}, {**nothing, "DATABASE_URL": "sqlite:///x.db"}):
        assert NOTE not in checkoutctl(*command, env=configured).stderr
    assert NOTE not in checkoutctl("--redis-port", "1", *command, env=nothing).stderr
    (tmp_path / ".env").write_text("REDIS_PORT=1\n")
    assert NOTE not in checkoutctl(*command, env=nothing).stderr


def test_a_command_that_is_to_say_nothing_does_not_say_that_either(checkoutctl: Checkoutctl) -> None:
    nothing = {"REDIS_HOST": "", "REDIS_PORT": "", "DATABASE_URL": ""}
    for command in (("cleanup", "--expired", "--quiet"), ("health", "--nagios")):
        assert NOTE not in checkoutctl(*command, env=nothing).stderr

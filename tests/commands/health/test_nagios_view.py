"""``checkoutctl health --nagios``, as a monitoring system runs it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.divergence import create_in_redis_alone, locked
from tests.support.servers import ValkeyServer

LINE = re.compile(r"CHECKOUT (OK|WARNING|CRITICAL|UNKNOWN): [^|\n]+(?: \| (?P<figures>[^|\n]+))?\n")
FIGURE = re.compile(r"[a-z_]+=[0-9.]+(?:s|B|c)?;;;0(?:;[0-9]*)?")


def told(checkoutctl: Checkoutctl, *words: str, **options: dict[str, str]) -> tuple[int, str]:
    """The exit code and the one line, whose form is checked."""
    run = checkoutctl("health", "--nagios", *words, **options)  # type: ignore[arg-type]
    match = LINE.fullmatch(run.stdout)
    assert match is not None, run
    assert run.stderr == ""
    for figure in (match["figures"] or "").split():
        assert FIGURE.fullmatch(figure), figure
    return run.returncode, run.stdout


def test_what_redis_alone_has_and_the_database_refuses_is_critical(
    store: CheckoutStore, checkoutctl: Checkoutctl, settings: Settings
) -> None:
    with locked(store.settings):
        code, line = told(checkoutctl)
        assert (code, "degraded" in line) == (1, True)
    create_in_redis_alone(settings, "alone-0001")
    with locked(store.settings):
        code, line = told(checkoutctl)
    assert code == 2
    assert "1 session waits for the database, the oldest for" in line


def test_all_is_well(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.create({"totalAmount": 1})
    code, line = told(checkoutctl)
    assert code == 0
    assert line.startswith("CHECKOUT OK: healthy; 1 sessions | redis_latency=0.0")
    for figure in (
        " sessions=1;;;0",
        " redis_memory=",
        " database_latency=",
        " pending_redis=0;;;0",
        " conflicts=0;;;0",
        " external_writes=0c;;;0",
        " external_conflicts=0c;;;0",
    ):
        assert figure in line


def test_degraded_is_a_warning_and_says_why(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    code, line = told(checkoutctl, env={"REDIS_PORT": "1"})
    assert (code, line.startswith("CHECKOUT WARNING: degraded; ")) == (1, True)
    assert "Redis at 127.0.0.1:1" in line


def test_with_no_durable_tier_it_is_critical(checkoutctl: Checkoutctl) -> None:
    code, line = told(checkoutctl, env={"REDIS_PORT": "1", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    assert (code, line.startswith("CHECKOUT CRITICAL: unhealthy; ")) == (2, True)


def test_a_redis_that_hangs_costs_one_time_out(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    hung = valkey_server()
    hung.pause()
    code, line = told(checkoutctl, "--timeout", "0.5", env={"REDIS_PORT": str(hung.port)})
    assert (code, line.startswith("CHECKOUT WARNING: degraded; ")) == (1, True)


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ([], {"REDIS_PORT": "a lot"}, "REDIS_PORT"),
        (["--bogus"], {}, "--bogus"),
        (["--timeout", "soon"], {}, "soon"),
        (["--timeout", "-1"], {}, "-1"),
        (["--json"], {}, "--nagios answers in one line"),
        (["--watch", "1"], {}, "--nagios answers in one line"),
        (["surplus"], {}, "surplus"),
    ],
)
def test_what_cannot_be_looked_at_is_unknown(
    words: list[str], environment: dict[str, str], said: str, checkoutctl: Checkoutctl
) -> None:
    code, line = told(checkoutctl, *words, env=environment)
    assert (code, line.startswith("CHECKOUT UNKNOWN: ")) == (3, True)
    assert said in line


def test_help_is_help(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("health", "--nagios", "--help")
    assert run.returncode == 0
    assert "Usage:" in run.stdout


@pytest.mark.parametrize(
    ("words", "env"),
    [(["--nagios=1"], {}), (["--nagios"], {"REDIS_HOST": "redis..internal"}), (["--nagios", "--no-such"], {})],
)
def test_whatever_is_wrong_is_unknown(words: list[str], env: dict[str, str], checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("health", *words, env=env)
    assert (run.returncode, run.stdout.startswith("CHECKOUT UNKNOWN: ")) == (3, True), run
    assert "Traceback" not in run.stderr

from __future__ import annotations

import json
import os
import pty
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from checkout_cli.config.settings import Settings
from tests.support.command import Checkoutctl
from tests.support.every_server import run
from tests.support.odd_servers import ODD_SERVERS, OddServer, each_odd_server
from tests.support.servers import ValkeyServer

TUNE = ("memory", "tune")
WANTED = ("--maxmemory", "256mb", "--policy", "volatile-ttl")
SETTINGS = ("maxmemory", "maxmemory-policy", "maxmemory-samples")


@pytest.fixture
def own(valkey_server: Callable[..., ValkeyServer], checkoutctl: Checkoutctl) -> ValkeyServer:
    """A server of the test's own, which the command talks to."""
    server = valkey_server()
    checkoutctl.environment["REDIS_PORT"] = str(server.port)
    return server


def said_by(server: ValkeyServer) -> dict[str, str]:
    with server.client() as client:
        found = client.config_get("maxmemory*")
    return {name: found[name] for name in SETTINGS}


def test_without_options_it_shows_what_is_and_changes_nothing(own: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    before = said_by(own)
    done = checkoutctl(*TUNE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 (no limit)" in done.stdout
    assert "writes are refused, and new sessions go to the database" in done.stdout
    assert "lost at a restart" in done.stdout
    document = json.loads(checkoutctl(*TUNE, "--json").stdout)
    assert document["servers"][0]["today"]["policy"] == "noeviction"
    assert document["changed"] is False
    assert said_by(own) == before


def test_it_is_changed_with_consent_only_and_taken_back(own: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    before = said_by(own)
    refused = checkoutctl(*TUNE, *WANTED)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "maxmemory 0 (no limit) -> 256mb" in refused.stderr
    planned = checkoutctl(*TUNE, *WANTED, "--dry-run")
    assert planned.returncode == 0
    assert "nothing was changed" in planned.stderr
    assert said_by(own) == before
    done = checkoutctl(*TUNE, *WANTED, "--yes", "--json")
    assert done.returncode == 0
    server = json.loads(done.stdout)["servers"][0]
    assert server["now"] == {"maxBytes": 268_435_456, "policy": "volatile-ttl", "samples": 5}
    assert server["today"]["maxBytes"] == 0
    assert said_by(own)["maxmemory"] == "268435456"
    assert checkoutctl(*TUNE, *WANTED).returncode == 0  # nothing to change, and so nothing to ask
    undone = checkoutctl(*TUNE, "--undo", "--yes")
    assert (undone.returncode, undone.stderr) == (0, "undone, and read back\n")
    assert said_by(own) == before
    assert checkoutctl(*TUNE, "--undo", "--yes").returncode == 3


def test_a_person_on_a_terminal_is_asked(own: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    before = said_by(own)
    assert _answered(checkoutctl, "n") == 1
    assert said_by(own) == before
    assert _answered(checkoutctl, "y") == 0
    assert said_by(own)["maxmemory-policy"] == "volatile-ttl"


def _answered(checkoutctl: Checkoutctl, answer: str) -> int:
    """Run it on a terminal, and answer its question; the exit code."""
    ours, theirs = pty.openpty()
    process = checkoutctl.start(*TUNE, *WANTED, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, end = b"", time.monotonic() + 15
    try:
        while b"[y/N]" not in seen and time.monotonic() < end:
            seen += os.read(ours, 4096)
        os.write(ours, answer.encode() + b"\n")
        while True:
            try:
                os.read(ours, 4096)
            except OSError:  # its end is closed
                break
        return process.wait(15)
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--policy", "lru"), "volatile-ttl"),
        (("--maxmemory", "10%"), "256mb"),
        (("--samples", "0"), "samples"),
        (("--advise", "--undo"), "--advise"),
        (("--advise", "--maxmemory", "1gb"), "--advise"),
        (("--undo", "--policy", "noeviction"), "--undo"),
    ],
)
def test_what_makes_no_sense_is_refused_before_redis_is_asked(
    arguments: tuple[str, ...], told: str, checkoutctl: Checkoutctl
) -> None:
    done = checkoutctl(*TUNE, *arguments, env={"REDIS_PORT": "1"})
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_limit_under_what_is_in_use_needs_force(own: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    before = said_by(own)
    refused = checkoutctl(*TUNE, "--maxmemory", "100kb", "--yes")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Redis would refuse every write" in refused.stderr
    assert "--force" in refused.stderr
    assert said_by(own) == before
    forced = checkoutctl(*TUNE, "--maxmemory", "100kb", "--yes", "--force")
    assert forced.returncode == 0
    assert "every write is refused" in forced.stdout


def test_what_could_not_be_persisted_is_a_finding_with_the_lines(own: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl(*TUNE, *WANTED, "--persist", "--yes")
    assert done.returncode == 1
    assert "maxmemory 268435456; maxmemory-policy volatile-ttl" in done.stdout
    assert "without a configuration file" in done.stderr
    assert said_by(own)["maxmemory"] == "268435456"


def test_advice_ends_with_what_to_type(own: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl(*TUNE, "--advise")
    assert (done.returncode, done.stderr) == (0, "")
    command = done.stdout.splitlines()[-1].removeprefix("next: checkoutctl ")
    assert checkoutctl(*command.split(), "--yes").returncode == 0
    assert said_by(own)["maxmemory"] == "268435456"
    document = json.loads(checkoutctl(*TUNE, "--advise", "--json").stdout)
    assert document["recommended"] == {"maxBytes": 268_435_456, "policy": "noeviction"}


def test_redis_away_and_a_wrong_password(settings: Settings, checkoutctl: Checkoutctl) -> None:
    for arguments in ((), WANTED, ("--undo",), ("--advise",)):
        away = checkoutctl(*TUNE, *arguments, "--json", env={"REDIS_PORT": "1"})
        assert (away.returncode, away.stdout) == (69, "")
        wrong = checkoutctl(*TUNE, *arguments, env={"REDIS_PASSWORD": "wrong"})
        assert (wrong.returncode, wrong.stdout) == (4, "")
        assert "Traceback" not in away.stderr + wrong.stderr


@pytest.mark.parametrize("odd", each_odd_server(), indirect=True)
def test_every_kind_of_server_gives_an_answer_or_one_clear_line_in_time(odd: OddServer, tmp_path: Path) -> None:
    changes = {"no CONFIG": 69, "denied CONFIG": 4, "no INFO": 1, "denied INFO": 1, "hung": 69}
    for arguments, codes in (
        ((), {"hung": 69}),
        (("--advise",), {"hung": 69}),
        (("--maxmemory", "300mb", "--policy", "volatile-lru", "--yes"), changes),
        (("--maxmemory", "100kb", "--yes"), dict.fromkeys(ODD_SERVERS, 1) | changes),
    ):
        done = run(odd, (*TUNE, *arguments), tmp_path, timeout=1)
        assert done.seconds < 1.9  # one time-out, not two
        assert done.code == codes.get(odd.name, 0), (arguments, done.out, done.err)
        assert "Traceback" not in done.err
        assert done.out if done.code == 0 else done.err.startswith("error: ")
        assert len(done.err.splitlines()) <= 3  # the error, advice, what to type


def test_what_is_may_be_persisted_alone(own: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl(*TUNE, "--persist", "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith("no setting was changed\nwarning: ")
    assert "maxmemory 0; maxmemory-policy noeviction" in done.stdout
    assert checkoutctl(*TUNE, "--undo", "--yes").returncode == 3  # nothing was changed, and so nothing recorded

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer

if TYPE_CHECKING:
    import pexpect


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a directory, with its bytes and the time of its last change."""
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("*") if path.is_file()}


def test_without_a_terminal_and_without_consent_nothing_changes(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    done = checkoutctl("setup")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "nothing was changed" in done.stderr
    assert "--yes" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_consent_sets_everything_up_and_says_so(checkoutctl: Checkoutctl, tmp_path: Path, valkey: ValkeyServer) -> None:
    done = checkoutctl("setup", "--yes")
    assert done.returncode == 0, done.stderr
    assert "probe redis" in done.stdout
    assert "+REDIS_HOST=127.0.0.1" in done.stderr
    assert "next:" in done.stderr
    assert (tmp_path / ".env.local").exists()
    with valkey.client() as client:
        assert client.keys() == []


def test_a_second_time_changes_nothing(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    checkoutctl("setup", "--yes")
    before = contents(tmp_path)[str(tmp_path / ".env.local")]
    done = checkoutctl("setup", "--yes")
    assert done.returncode == 0
    assert "everything was in place already" in done.stderr
    assert "+++" not in done.stderr
    assert contents(tmp_path)[str(tmp_path / ".env.local")] == before


def test_check_changes_nothing_before_and_after(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    done = checkoutctl("setup", "--check")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
    checkoutctl("setup", "--yes")
    before = contents(tmp_path)
    assert checkoutctl("setup", "--check").returncode == 0
    assert contents(tmp_path) == before


def test_the_answer_is_one_json_document(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    done = checkoutctl("setup", "--yes", "--json")
    answer = json.loads(done.stdout)
    assert (answer["schemaVersion"], answer["status"], answer["lookedOnly"]) == (1, "ok", False)
    assert answer["changed"] == [str(tmp_path / ".env.local"), "database schema"]
    assert {"id", "status", "evidence", "fix"} == set(answer["checks"][0])


def test_no_redis_is_a_finding_with_its_fix_and_the_rest_is_done(
    checkoutctl: Checkoutctl, tmp_path: Path, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    server.kill()
    done = checkoutctl("setup", "--yes", "--json", env={"REDIS_PORT": str(server.port)})
    answer = json.loads(done.stdout)
    failed = [check for check in answer["checks"] if check["status"] == "crit"]
    assert done.returncode == 1
    assert [check["id"] for check in failed] == ["redis"]
    assert failed[0]["fix"]
    assert (tmp_path / ".env.local").exists()


def test_a_wrong_password_is_shown_nowhere(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--requirepass", "hush")
    env = {"REDIS_PORT": str(server.port), "REDIS_PASSWORD": "canary", "DEBUG": "redis:*"}
    for arguments in (("setup", "--yes"), ("setup", "--check", "--json"), ("config", "show"), ("config", "check")):
        done = checkoutctl(*arguments, env=env)
        assert "canary" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_directory_in_the_files_place_is_one_clear_line(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / ".env.local").mkdir()
    for arguments in (("setup", "--yes"), ("setup", "--check"), ("config", "show")):
        done = checkoutctl(*arguments)
        assert done.returncode == 78
        assert done.stderr.startswith("error: ")
        assert "directory" in done.stderr.splitlines()[0]
        assert "Traceback" not in done.stderr


def test_debug_logs_the_probe(checkoutctl: Checkoutctl) -> None:
    assert "checkout:session:checkout" in checkoutctl("setup", "--yes", env={"DEBUG": "redis:*"}).stderr


@pytest.fixture
def terminal(checkoutctl: Checkoutctl, tmp_path: Path) -> Callable[..., pexpect.spawn[str]]:
    """Starts ``checkoutctl setup`` on a terminal."""
    pexpect = pytest.importorskip("pexpect")

    def start(**without: str) -> pexpect.spawn[str]:
        command = checkoutctl.command("setup")
        environment = checkoutctl.environment | {"TERM": "xterm"} | without
        child: pexpect.spawn[str] = pexpect.spawn(
            sys.executable, command[1:], env=environment, cwd=str(tmp_path), encoding="utf-8", timeout=20
        )
        return child

    return start


pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")


@pytest.mark.skipif(os.name == "nt", reason="pexpect needs a pseudo-terminal")
def test_a_terminal_is_shown_the_diff_and_asked(terminal: Callable[[], pexpect.spawn[str]], tmp_path: Path) -> None:
    child = terminal()
    child.expect(r"\+REDIS_HOST")
    child.expect(r"Write .*\?")
    assert list(tmp_path.iterdir()) == []
    child.sendline("y")
    child.expect("probe memory")
    child.expect("next:")
    child.wait()
    assert child.exitstatus == 0
    assert (tmp_path / ".env.local").exists()


@pytest.mark.skipif(os.name == "nt", reason="pexpect needs a pseudo-terminal")
@pytest.mark.parametrize(("answer", "exit_code"), [("n\r", 1), ("\x03", 130), ("\x04", 1)])
def test_whoever_does_not_consent_keeps_everything_as_it_is(
    terminal: Callable[[], pexpect.spawn[str]], tmp_path: Path, answer: str, exit_code: int
) -> None:
    child = terminal()
    child.expect(r"Write .*\?")
    child.send(answer)
    rest = child.read()
    child.wait()
    assert child.exitstatus == exit_code
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="pexpect needs a pseudo-terminal")
def test_a_terminal_is_not_asked_where_nothing_is_to_be_written(
    terminal: Callable[[], pexpect.spawn[str]], checkoutctl: Checkoutctl
) -> None:
    checkoutctl("setup", "--yes")
    child = terminal()
    rest = child.read()
    child.wait()
    assert "Write" not in rest
    assert child.exitstatus == 0


NOWHERE = {"REDIS_HOST": "", "REDIS_PORT": ""}


@pytest.mark.skipif(os.name == "nt", reason="pexpect needs a pseudo-terminal")
def test_a_person_is_asked_where_redis_is_where_nothing_says_so(
    terminal: Callable[..., pexpect.spawn[str]], checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    child = terminal(**NOWHERE)
    child.expect(r"Where is Redis\? \[redis://localhost:6379/0\]")
    child.sendline("http://nonsense")
    child.expect("must begin with redis://")
    child.expect(r"Where is Redis\?")
    port = checkoutctl.environment["REDIS_PORT"]
    child.sendline(f"127.0.0.1:{port}")
    child.expect(rf"\+REDIS_URL=redis://127.0.0.1:{port}")
    child.expect(r"Write .*\?")
    child.sendline("y")
    child.expect("probe memory")
    child.wait()
    assert child.exitstatus == 0
    assert f"REDIS_URL=redis://127.0.0.1:{port}" in (tmp_path / ".env.local").read_text()
    again = terminal(**NOWHERE)
    rest = again.read()
    again.wait()
    assert ("Where is Redis?" in rest, again.exitstatus) == (False, 0)


def test_the_url_can_be_given_and_is_written(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{checkoutctl.environment['REDIS_PORT']}/0"
    for _ in range(2):
        done = checkoutctl("setup", "--yes", "--redis-url", url, env=NOWHERE)
        assert done.returncode == 0
        assert "assumed: Redis" not in done.stderr
    assert (tmp_path / ".env.local").read_text().count(f"REDIS_URL={url}\n") == 1
    before = contents(tmp_path)
    for wrong, reason in (
        ("redis://elsewhere:1/0", "says already where Redis is"),
        ("redis://:canary@elsewhere:1/0", "has a password"),
        ("http://elsewhere", "must begin with redis://"),
    ):
        refused = checkoutctl("setup", "--yes", "--redis-url", wrong, env=NOWHERE)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert reason in refused.stderr
        assert "canary" not in refused.stderr
    assert contents(tmp_path) == before


def test_what_nothing_says_is_assumed_aloud(checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch) -> None:
    done = checkoutctl("setup", "--check", "--json", env={**NOWHERE, "DATABASE_URL": ""})
    assert "assumed: Redis is at localhost:6379" in done.stderr
    assert "note: no .env.local" not in done.stderr
    (redis, database) = json.loads(done.stdout)["assumed"]
    assert "--redis-url" in redis
    assert "DATABASE_URL" in database
    assert json.loads(checkoutctl("setup", "--check", "--json").stdout)["assumed"] == []


def test_a_wrong_password_is_told_from_a_missing_server(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--requirepass", "hush")
    env = {"REDIS_PORT": str(server.port), "REDIS_PASSWORD": "wrong"}
    denied = checkoutctl("setup", "--check", "--json", env=env)
    checks = {check["id"]: check for check in json.loads(denied.stdout)["checks"]}
    assert denied.returncode == 4
    assert "(password)" in checks["redis"]["evidence"]
    assert checks["server installed"]["status"] != "warn"
    assert "demo" not in denied.stdout
    server.kill()
    missing = checkoutctl("setup", "--check", "--json", env=env)
    assert missing.returncode == 1
    assert "(password)" not in missing.stdout

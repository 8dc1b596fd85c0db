"""Whoever sees personal data is recorded first."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from checkout_cli.errors import ConfigurationError
from checkout_cli.files.audit_trail import FILE, record
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl

ID = "session-0001"


def test_each_look_is_a_line_and_the_file_is_private(tmp_path: Path) -> None:
    for number in range(2):
        record("sessions show", f"session {number}\nforged", tmp_path / "state")
    path = tmp_path / "state" / FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["revealed"] for line in lines] == ["session 0\nforged", "session 1\nforged"]
    assert (lines[0]["command"], lines[0]["uid"]) == ("sessions show", os.getuid())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_no_link_is_followed_and_no_fifo_waited_for(kind: str, tmp_path: Path) -> None:
    path, victim = tmp_path / FILE, tmp_path / "victim"
    victim.write_text("as it was")
    {"link": lambda: path.symlink_to(victim), "directory": path.mkdir, "fifo": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(ConfigurationError, match="nothing is revealed"):
        record("sessions show", "one", tmp_path)
    assert victim.read_text() == "as it was"


@pytest.mark.parametrize("command", ["list", "show", "trace", "export"])
def test_without_an_audit_trail_nothing_is_revealed(
    command: str, store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    store.create({"userEmail": "canary@shop.example"}, checkout_id=ID)
    arguments = ["sessions", command, *([ID] if command in {"show", "trace"} else []), "--reveal"]
    (tmp_path / "a file").touch()
    refused = checkoutctl(*arguments, env={"XDG_STATE_HOME": str(tmp_path / "a file")})
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "so nothing is revealed" in refused.stderr
    state = tmp_path / "state"
    allowed = checkoutctl(*arguments, env={"XDG_STATE_HOME": str(state)})
    assert allowed.returncode == 0, allowed
    line = json.loads((state / "checkoutctl" / FILE).read_text())
    assert line["command"] == f"sessions {command}"


def test_a_status_that_is_none_of_the_shops_is_other(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.redis.ask(
        ("SET", f"checkout:session:{ID}", b'{"items":[],"paymentStatus":"call +49 170 5550199"}', "EX", 600)
    )
    for arguments in (["sessions", "show", ID], ["sessions", "list"], ["sessions", "trace", ID, "--json"]):
        run = checkoutctl(*arguments)
        assert "5550199" not in run.stdout + run.stderr
        assert "other" in run.stdout, run


@pytest.mark.parametrize("command", ["list", "export"])
def test_without_the_trail_it_would_be_revealed_all_the_same(
    command: str, store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"userId": "canary-user-01"}, checkout_id=ID)
    (tmp_path / "a file").touch()
    nowhere = {"XDG_STATE_HOME": str(tmp_path / "a file")}
    assert "canary-user-01" not in checkoutctl("sessions", command, "--reveal", env=nowhere).stdout
    monkeypatch.setattr("checkout_cli.files.audit_trail.record", lambda *_: "nobody")
    assert "canary-user-01" in checkoutctl("sessions", command, "--reveal", env=nowhere).stdout


def test_the_trail_itself_names_no_id_that_is_somebodys(
    store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    store.redis.ask(("SET", "checkout:session:jane@example.org", b"{}", "EX", 600))
    state = {"XDG_STATE_HOME": str(tmp_path)}
    assert checkoutctl("sessions", "show", "jane@example.org", "--reveal", env=state).returncode == 0
    trail = tmp_path / "checkoutctl" / FILE
    assert json.loads(trail.read_text())["revealed"] == "session ********"
    assert stat.S_IMODE(trail.stat().st_mode) == 0o600


def test_made_without_its_mode_the_trail_would_be_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout_cli.files.audit_trail.open_own", lambda path, flags: os.open(path, flags, 0o644))
    before = os.umask(0o022)
    try:
        record("sessions show", "one", tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o644

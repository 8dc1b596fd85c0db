"""``sessions delete``, ``restore`` and ``extend``, as a person and a program see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl

ID = "4645c59d-c428-4017-af90-a43ee2787c34"
OTHER = "5645c59d-c428-4017-af90-a43ee2787c34"
NAME = "Ada Lovelace"
NO_REDIS = {"REDIS_PORT": "1"}
NO_DATABASE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


@pytest.fixture
def sessions(store: CheckoutStore) -> CheckoutStore:
    """Two sessions, one of which has failed."""
    store.create({"totalAmount": 10.8, "contactInfo": {"name": NAME}, "userId": "user-0042"}, checkout_id=ID)
    store.create({"totalAmount": 4.2}, checkout_id=OTHER)
    store.set_payment_status(OTHER, "failed")
    return store


def test_without_a_terminal_a_deletion_needs_yes(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    asked = checkoutctl("sessions", "delete", ID)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert f"session {ID}: pending, 0 items, total 10.80, in redis" in asked.stderr
    assert "--yes" in asked.stderr
    assert sessions.admin.inspect(ID).session is not None

    (looked,) = checkoutctl.here("sessions", "delete", ID, "--dry-run", "--json").documents
    assert (looked["deleted"], looked["matched"], looked["undoFile"]) == (0, 1, None)
    assert sessions.admin.inspect(ID).session is not None

    (agreed,) = checkoutctl.here("sessions", "delete", ID, "--yes", "--json").documents
    assert (agreed["deleted"], agreed["checkoutIds"]) == (1, [ID])
    assert Path(agreed["undoFile"]).parent == Path(checkoutctl.environment["HOME"]) / ".local/state/checkoutctl/undo"
    assert checkoutctl.here("sessions", "show", ID).code == 3
    assert checkoutctl.here("sessions", "delete", ID, "--yes").code == 3


def test_a_selection_is_previewed_deleted_and_restored(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    looked = checkoutctl.here("sessions", "delete", "--user", "user-0042", "--dry-run")
    assert (looked.code, looked.out) == (0, f"would delete {ID}\n")
    done = checkoutctl.here("sessions", "delete", "--status", "failed", "--yes")
    assert (done.code, done.out) == (0, f"deleted {OTHER}\n")
    undo = done.err.splitlines()[-1].removeprefix("to take it back: checkoutctl sessions restore ")
    back = checkoutctl("sessions", "restore", undo)
    assert (back.returncode, back.stdout) == (0, f"restored {OTHER}\n")
    assert sessions.get(OTHER).status == "failed"
    (again,) = checkoutctl.here("sessions", "restore", undo, "--json").documents
    assert (again["restored"], again["alive"]) == ([], [OTHER])


def test_nothing_that_matches_is_no_error(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "delete", "--status", "paid", "--yes")
    assert (done.code, done.out, done.err) == (0, "", "no session matches\n")


def test_the_preview_has_no_personal_data(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "delete", ID, OTHER, "--dry-run")
    assert "2 sessions, baskets of 15.00 in all: 1 failed, 1 pending" in done.err
    assert NAME not in done.out + done.err


@pytest.mark.parametrize(
    "arguments", [(), (ID, "--user", "x"), ("--older-than", "2h")], ids=["nothing", "both", "age alone"]
)
def test_what_cannot_be_meant_is_refused(
    sessions: CheckoutStore, checkoutctl: Checkoutctl, arguments: tuple[str, ...]
) -> None:
    done = checkoutctl.here("sessions", "delete", *arguments, "--yes")
    assert (done.code, done.out) == (2, "")
    assert len(list(sessions.admin.iterate())) == 2


def test_a_broken_undo_file_is_one_clear_line(
    sessions: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    done = checkoutctl.here("sessions", "delete", ID, "--yes", "--undo-file", str(tmp_path / "undo"))
    assert done.code == 0
    content = (tmp_path / "undo").read_bytes()
    assert NAME.encode() in content
    (tmp_path / "undo").write_bytes(content[:200])
    broken = checkoutctl.here("sessions", "restore", str(tmp_path / "undo"))
    assert (broken.code, broken.out) == (2, "")
    assert broken.err.count("\n") == 3
    assert checkoutctl.here("sessions", "restore", str(tmp_path / "none")).code == 2


def test_without_the_database_nothing_is_deleted_or_restored(
    sessions: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    undo = str(tmp_path / "undo")
    assert checkoutctl.here("sessions", "delete", ID, "--yes", env=NO_DATABASE).code == 69
    assert checkoutctl.here("sessions", "delete", "--status", "failed", "--yes", env=NO_DATABASE).code == 69
    assert checkoutctl.here("sessions", "delete", ID, "--yes", "--undo-file", undo).code == 0
    assert checkoutctl.here("sessions", "restore", undo, env=NO_DATABASE).code == 69
    without_redis = checkoutctl.here("sessions", "restore", undo, env=NO_REDIS)
    assert without_redis.code == 0
    assert "published as soon as Redis is back" in without_redis.err


def test_an_extension_says_when_the_session_ends_now(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "extend", ID, "--by", "30m")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{ID} ends in 59m (")
    capped = checkoutctl.here("sessions", "extend", ID, "--by", "9d", "--json")
    assert json.loads(capped.out)["capped"] is True
    assert checkoutctl.here("sessions", "extend", ID, "--by", "5").code == 2
    assert checkoutctl.here("sessions", "extend", "nothing-00", "--by", "5m").code == 3

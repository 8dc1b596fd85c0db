"""``sessions export``, as a person and a program see it."""

from __future__ import annotations

import csv
import io
import json

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl

NAME = "Ada Lovelace"


@pytest.fixture
def sessions(store: CheckoutStore) -> CheckoutStore:
    """Three sessions, one of them with what a spreadsheet would run."""
    for number in range(2):
        store.create({"totalAmount": number, "contactInfo": {"name": NAME}}, checkout_id=f"export-{number:02}")
    store.create({"couponCode": "=cmd|' /C calc'!A0", "notes": "grüße\n"}, checkout_id="export-02")
    return store


def test_lines_of_json_are_masked_and_in_ascii(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "export")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [line["checkoutId"] for line in lines] == ["export-00", "export-01", "export-02"]
    assert {line["schemaVersion"] for line in lines} == {1}
    assert lines[0]["session"]["contactInfo"] == {"name": "********"}
    assert NAME not in done.stdout
    assert done.stdout.isascii()
    assert done.stderr == "3 sessions\n"


def test_revealed_the_session_is_whole(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "export", "--reveal")
    assert [document["session"].get("notes") for document in done.documents] == [None, None, "grüße\n"]
    assert NAME in done.out
    assert "revealing personal data" in done.err


def test_csv_is_safe_against_formulas(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    rows = list(csv.DictReader(io.StringIO(checkoutctl.here("sessions", "export", "-o", "csv").out)))
    assert [row["checkoutId"] for row in rows] == ["export-00", "export-01", "export-02"]
    assert NAME not in str(rows)
    revealed = list(csv.DictReader(io.StringIO(checkoutctl.here("sessions", "export", "-o", "csv", "--reveal").out)))
    assert json.loads(revealed[2]["fields"])["couponCode"].startswith("=cmd")
    assert not any(cell.startswith(("=", "+", "@")) for row in revealed for cell in row.values())


def test_a_limit_tells_where_to_go_on(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "export", "--limit", "1")
    cursor = done.err.splitlines()[-1].removeprefix("to go on: checkoutctl sessions export --cursor ")
    rest = checkoutctl.here("sessions", "export", "--cursor", cursor)
    assert len(done.documents) + len(rest.documents) >= 3
    assert checkoutctl.here("sessions", "export", "--cursor", "x").code == 2


def test_a_full_disk_is_one_clear_line_with_the_cursor(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  (a device)
        process = checkoutctl.start("sessions", "export", stdout=full)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.startswith("error: the answer cannot be written: No space left on device")


def test_a_reader_that_goes_away_ends_it_quietly(sessions: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    import os

    reader, writer = os.pipe()
    os.close(reader)
    process = checkoutctl.start("sessions", "export", stdout=writer)
    os.close(writer)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_without_any_tier_it_is_unavailable(checkoutctl: Checkoutctl) -> None:
    nothing = {"REDIS_PORT": "1", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = checkoutctl.here("sessions", "export", env=nothing)
    assert (done.code, done.out) == (69, "")

"""A session with half of a surrogate pair in it, as JavaScript writes it, through the commands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.stores import put_raw, raw

ID = "4645c59d-c428-4017-af90-a43ee2787c34"
MEMBERS = (
    rb'"items":[{"product_name":"Cake \ud83d","quantity":1,"unit_price":250.10}],"totalAmount":250.10,'
    rb'"notes":"cake \ud83d","\udf82":{"k\ud83d":"v"},"paymentStatus":"pending"'
)
UNREADABLE = ("corrupt", "unreadable", "no session", "no JSON")


@pytest.fixture(params=["foreign", "ours"])
def session(request: pytest.FixtureRequest, store: CheckoutStore) -> CheckoutStore:
    put_raw(store, ID, b'{"checkoutId":"%s",%s}' % (ID.encode(), MEMBERS))
    store.redis.ask(("SADD", "checkout:index", ID))
    if request.param == "ours":
        store.update(ID, {"count": 1})
    return store


@pytest.mark.parametrize(
    "words",
    [
        ("sessions", "list", "--json"),
        ("sessions", "list", "--output", "csv", "--reveal"),
        ("sessions", "show", ID),
        ("sessions", "show", ID, "--reveal"),
        ("sessions", "show", ID, "--reveal", "--json"),
        ("sessions", "trace", ID, "--reveal"),
        ("sessions", "why", ID),
        ("sessions", "export"),
        ("sessions", "export", "--output", "csv"),
        ("migrate", "plan"),
        ("migrate", "verify"),
        ("memory", "show"),
        ("doctor", "--only", "payload"),
        ("doctor", "--only", "card-data"),
    ],
    ids=" ".join,
)
def test_every_command_takes_it_for_the_session_that_it_is(
    session: CheckoutStore, checkoutctl: Checkoutctl, words: tuple[str, ...]
) -> None:
    before = raw(session, ID)
    done = checkoutctl.here(*words)
    assert done.code == 0, done
    assert not any(word in done.out.replace("none unreadable", "") + done.err for word in UNREADABLE)
    assert r"\ud83d" not in done.out
    assert raw(session, ID) == before


def test_what_is_no_json_is_still_told(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    put_raw(store, ID, rb'{"notes":"cake \ud83"}')
    done = checkoutctl.here("sessions", "show", ID)
    assert done.code == 1
    assert "corrupt" in done.out


def test_exports_are_json_that_every_program_reads(session: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    (line,) = checkoutctl.here("sessions", "export", "--reveal").documents
    assert (line["session"]["notes"], line["session"]["\ufffd"]) == ("cake \ufffd", {"k\ufffd": "v"})
    (row,) = csv.DictReader(io.StringIO(checkoutctl.here("sessions", "export", "--reveal", "-o", "csv").out))
    assert json.loads(row["fields"])["notes"] == "cake \ufffd"


def test_a_terminal_that_takes_ascii_alone_gets_it(session: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.process("sessions", "show", ID, "--reveal", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert r"cake \ufffd" in done.stdout


def test_updates_deletion_and_restoring_keep_every_byte(
    session: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    assert checkoutctl.here("sessions", "update", ID, "--set", "count=2").code == 0
    assert MEMBERS in (raw(session, ID) or b"")
    refused = checkoutctl.here("sessions", "update", ID, "--set", r'notes="\ud83d"')
    assert (refused.code, "half of a surrogate pair" in refused.err) == (2, True)
    undo = str(tmp_path / "undo.ndjson")
    assert checkoutctl.here("sessions", "delete", ID, "--yes", "--undo-file", undo).code == 0
    assert raw(session, ID) is None
    assert checkoutctl.here("sessions", "restore", undo).code == 0
    assert MEMBERS in (raw(session, ID) or b"")


def test_card_data_beside_it_is_found_and_its_field_is_named(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    put_raw(store, ID, rb'{"a":"\ud83d","notes":"4111 1111 1111 1111"}')
    done = checkoutctl.here("doctor", "--only", "card-data")
    assert done.code == 1
    assert "(notes)" in done.out

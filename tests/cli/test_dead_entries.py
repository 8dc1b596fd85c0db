"""An index full of entries without a session: every look at it has an end, and says what it has not seen."""

from __future__ import annotations

import pytest

from checkout_cli.commands.sessions import delete, sessions
from checkout_cli.commands.sessions.sessions import MOST_LOOKED_AT
from checkout_cli.keys import INDEX
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl

DEAD = 2 * MOST_LOOKED_AT
AT_ONCE = 5000
LIVING = "living-session-01"


@pytest.fixture
def full_of_dead(store: CheckoutStore) -> CheckoutStore:
    store.create({"userId": "u-1"}, checkout_id=LIVING)
    later = store.clock.wall() + 86_000_000
    for start in range(0, DEAD, AT_ONCE):
        entries = [part for number in range(start, start + AT_ONCE) for part in (later + number, f"dead-{number:08}")]
        store.redis.ask(("ZADD", INDEX, *entries))
    return store


def test_looks_end_and_say_that_they_are_partial(
    full_of_dead: CheckoutStore, checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LONGEST_LOOK", 1)
    for words in ("", "--status paid", "--user u-1", "--sort total"):
        done = checkoutctl("sessions", "list", *words.split(), "--json")
        assert done.code == 1
        assert done.documents[0]["partial"]
        assert 0 < done.documents[0]["lookedAt"] <= MOST_LOOKED_AT
        assert "next: checkoutctl cleanup --index" in done.err
        assert done.seconds < 3
    in_time = checkoutctl("sessions", "list", "--output", "ids", "--max-seconds", "0.5")
    assert (in_time.code, in_time.out) == (1, "")
    assert in_time.seconds < 2

    assert checkoutctl("cleanup", "--index").code == 0  # the hint works
    after = checkoutctl("sessions", "list", "--json")
    assert (after.code, [each["checkoutId"] for each in after.documents[0]["sessions"]]) == (0, [LIVING])


def test_a_deletion_by_status_looks_no_longer_and_says_how_to_go_on(
    full_of_dead: CheckoutStore, checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ("--user u-1", "--status pending"):
        looked = checkoutctl("sessions", "delete", *words.split(), "--dry-run", "--json")
        assert looked.code == 1
        assert (looked.documents[0]["matched"], looked.documents[0]["partial"]) == (0, True)
        assert 0 < looked.documents[0]["lookedAt"] <= MOST_LOOKED_AT
        assert "next: checkoutctl cleanup --index" in looked.err
    assert checkoutctl("sessions", "delete", "--user", "u-1", "--max-seconds", "0.1", "--yes").code == 1

    monkeypatch.setattr(sessions, "LONGEST_LOOK", 600)  # the controls: what a look has no bounds for, it finds
    monkeypatch.setattr(delete, "MOST_LOOKED_AT", 2 * DEAD)
    found = checkoutctl("sessions", "delete", "--user", "u-1", "--yes", "--json")
    assert (found.code, found.documents[0]["deleted"]) == (0, 1)
    assert not found.documents[0]["partial"]


def test_without_its_bounds_a_list_would_look_at_everything(
    full_of_dead: CheckoutStore, checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LONGEST_LOOK", 600)
    in_number = checkoutctl("sessions", "list", "--status", "paid", "--json")
    assert in_number.documents[0]["lookedAt"] == MOST_LOOKED_AT
    monkeypatch.setattr(sessions, "MOST_LOOKED_AT", 2 * DEAD)
    assert "lookedAt" not in checkoutctl("sessions", "list", "--status", "paid", "--json").documents[0]


def test_an_export_says_what_it_has_looked_at(full_of_dead: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    whole = checkoutctl("sessions", "export")
    assert LIVING in whole.out
    assert f"{DEAD:,} entries of the index have no session: checkoutctl cleanup --index" in whole.err
    part = checkoutctl("sessions", "export", "--max-seconds", "0.01")
    assert "to go on: checkoutctl sessions export --cursor r" in part.err

"""An index full of entries without a session: every look at it has an end, and says what it has not seen."""

from __future__ import annotations

import pytest

from checkout_cli.commands.sessions import sessions
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


def test_an_export_says_what_it_has_looked_at(full_of_dead: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "export", "--max-seconds", "3")
    assert LIVING in done.out
    assert "entries of the index have no session: checkoutctl cleanup --index" in done.err
    assert "to go on: checkoutctl sessions export --cursor r" in done.err

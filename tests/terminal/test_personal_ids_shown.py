"""Lists of ids alone leave out whose id may not be seen; what was typed is repeated to nobody but who typed it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from checkout_cli.keys import INDEX
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.terminal import command_line, masking
from checkout_cli.terminal.masking import acknowledged, answer_shown, fields_shown, id_shown
from tests.support.command import Checkoutctl

JANE, ORDER, PHONE = "cart:jane@example.org", "100023", "01515550199"


@pytest.fixture
def shop(store: CheckoutStore) -> CheckoutStore:
    """Sessions of a shop whose ids are e-mail addresses and phone numbers, and one that is an order's number."""
    for place, name in enumerate((JANE, ORDER, PHONE)):
        store.redis.ask(("SET", f"checkout:session:{name}", b'{"items":[]}', "EX", 600))
        store.redis.ask(("ZADD", INDEX, store.clock.wall() + 600_000 + place, name))
    return store


def test_ids_alone_are_whole_or_not_there_and_the_next_command_has_them(
    shop: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    assert shop is not None
    run = checkoutctl("sessions", "list", "--output", "ids", "--limit", "9")
    assert (run.returncode, run.stdout.split()) == (1, [ORDER])
    assert "warning: partial: 2 left out whose ids" in run.stderr
    (again,) = [line for line in run.stderr.splitlines() if "next: " in line]
    words = shlex.split(again.split("next: ")[1])
    assert words == ["checkoutctl", "sessions", "list", "--output", "ids", "--limit", "9", "--reveal"]
    state = tmp_path / "state"
    whole = checkoutctl(*words[1:], env={"XDG_STATE_HOME": str(state)})
    assert (whole.returncode, sorted(whole.stdout.split())) == (0, sorted([JANE, ORDER, PHONE]))
    assert len((state / "checkoutctl" / "audit.ndjson").read_text().splitlines()) == 1
    deleted = checkoutctl("sessions", "delete", *whole.stdout.split(), "--yes", "--json")
    assert sorted(json.loads(deleted.stdout)["checkoutIds"]) == sorted([JANE, ORDER, PHONE])


def test_without_leaving_them_out_a_masked_id_would_be_among_the_ids(
    shop: CheckoutStore, checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shop is not None
    monkeypatch.setattr("checkout_cli.commands.sessions.view.is_personal", lambda _: False)
    assert JANE in checkoutctl("sessions", "list", "--output", "ids").stdout


@pytest.mark.parametrize("given", [JANE, PHONE])
def test_a_hint_that_names_a_typed_id_works_and_one_that_was_found_is_not_named(
    given: str, shop: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    shop.redis.ask(("SET", f"checkout:session:{given}", b"{", "EX", 600))
    typed = checkoutctl("sessions", "why", given)
    assert f"next: checkoutctl sessions show {given}" in typed.stderr
    assert given not in typed.stdout
    found = checkoutctl("sessions", "why", given[:-1])
    assert given not in found.stdout + found.stderr
    assert "next: checkoutctl sessions list --reveal" in found.stderr


def test_several_candidates_are_counted_and_not_named(shop: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    shop.redis.ask(("SET", f"checkout:session:{JANE}.uk", b"{}", "EX", 600))
    shop.redis.ask(("ZADD", INDEX, shop.clock.wall() + 600_000, f"{JANE}.uk"))
    run = checkoutctl("sessions", "show", JANE[:9])
    assert (run.returncode, run.stdout) == (2, "")
    assert "jane@" not in run.stderr
    assert "next: checkoutctl sessions list --reveal" in run.stderr


def test_what_was_written_is_acknowledged_to_who_typed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "_typed", {"line": (), "words": ()})
    assert acknowledged(JANE) == masking.MASKED
    command_line.remember(["sessions", "delete", f"--user={JANE}"])
    assert acknowledged(JANE) == JANE
    assert (id_shown(JANE), id_shown(JANE, reveal=True)) == (masking.MASKED, JANE)


def test_no_command_is_told_that_cannot_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "_typed", {"line": (), "words": ()})
    assert command_line.with_option("--reveal") == ""
    command_line.remember(["users", "list", "-o", "a b"])
    assert command_line.with_option("--reveal") == "checkoutctl users list -o 'a b' --reveal"
    command_line.remember(["users", "\x1b[2J"])
    assert command_line.with_option("--reveal") == ""


@pytest.mark.parametrize(
    ("field", "usual", "odd"),
    [
        ("deliveryTiming", "scheduled", "after Jane is home"),
        ("deliveryZone", "zone-2", "Jane's house"),
        ("deliveryDate", "2024-01-15", "when Jane calls"),
        ("deliveryTimeSlot", "8:00 am - 10:00 am", "ring Jane first"),
        ("estimatedDeliveryTime", "30-45 mins", "Jane knows"),
        ("createdAt", "2023-11-14T22:00:00.000Z", "Jane"),
        ("databaseOrderId", "ORD-1", "+491515550199"),
        ("checkoutId", ORDER, PHONE),
        ("paymentStatus", "paid", "Jane paid"),
    ],
)
def test_a_field_with_few_values_shows_no_others(field: str, usual: str, odd: str) -> None:
    assert fields_shown({field: usual}) == {field: usual}
    assert fields_shown({field: odd})[field] in {masking.MASKED, masking.OTHER}
    assert fields_shown({field: odd}, reveal=True) == {field: odd}


@pytest.mark.parametrize(
    ("field", "usual", "odd"),
    [("currency", "EUR", "Jane"), ("type", "percentage", "for Jane only"), ("validUntil", "2024-01-15", "Jane")],
)
def test_nor_does_a_coupons_answer(field: str, usual: str, odd: str) -> None:
    assert answer_shown({field: usual}) == {field: usual}
    assert answer_shown({field: odd}) == {field: masking.MASKED}


def test_without_the_forms_they_would_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_FORMS", {})
    masking._is_harmless.cache_clear()
    assert fields_shown({"deliveryZone": "Jane's house"}) == {"deliveryZone": "Jane's house"}
    masking._is_harmless.cache_clear()


def test_a_bar_code_of_a_product_is_no_phone_number() -> None:
    item = {"product_id": "036000291452", "product_name": "Rye (small), 20% off & more"}
    assert fields_shown({"items": [item]}) == {"items": [item]}

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from checkout_cli.commands.cache.entries import EntryList, Found, Invalidation, Replacement
from checkout_cli.commands.cache.view import (
    describe_invalidation,
    describe_replacement,
    show_entry,
    show_invalidation,
    show_listing,
    show_replacement,
)
from checkout_cli.domain.entries import Answer, CacheEntry, Problem

NOW = 1_700_000_000_000
KEY = "delivery:cache:5.2:24.5"
DIGEST = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e[red][/]\r\n"
SECRETS = ("ada@example.com", "Ada Lovelace", "+1 555 0100")
PERSONAL = {
    "valid": True,
    "discount": 5,
    "note": "Ada Lovelace",
    "user": {"email": "ada@example.com"},
    "x": [SECRETS[2]],
}

Captured = pytest.CaptureFixture[str]


def charge(value: Any = 3.9, problem: Problem | None = None, ttl: int | None = 240_000) -> CacheEntry:
    answer = Answer(value, NOW - 60_000, None if ttl is None else NOW + ttl, None, problem)
    return CacheEntry("delivery", KEY, ("5.2", "24.5"), ttl, 98, (answer,))


def coupon(*answers: Any, problem: Problem | None = None, code: str = "WELCOME10") -> CacheEntry:
    made = tuple(Answer(value, NOW - 1000, NOW + 90_000, DIGEST, problem) for value in answers)
    return CacheEntry("coupon", f"coupon:cache:{code}", (code,), 90_000, 120, made)


def listing(*entries: CacheEntry, cursor: str | None = None, enabled: bool = True) -> EntryList:
    cache = entries[0].cache if entries else "delivery"
    found = {entry.key: entry for entry in entries}
    return EntryList(cache=cache, found=found, cursor=cursor, looked_at=1000, now=NOW, enabled=enabled)


def test_a_charge_that_would_be_served_says_so_with_its_age_and_its_time_to_live(capsys: Captured) -> None:
    show_entry(Found(charge(), NOW, enabled=True), as_json=False)

    printed = capsys.readouterr()
    assert [line.split(maxsplit=1) for line in printed.out.splitlines()[1:]] == [
        ["KEY", KEY],
        ["CHARGE", "3.9"],
        ["SERVED", "yes"],
        ["AGE", "1m"],
        ["EXPIRES", "IN  4m"],
        ["SIZE", "98 bytes"],
    ]
    assert printed.err == ""


@pytest.mark.parametrize("problem", list(Problem))
def test_what_would_not_be_served_says_why_in_every_format(problem: Problem, capsys: Captured) -> None:
    found = Found(charge(problem=problem), NOW, enabled=True)

    show_entry(found, as_json=False)
    assert f"no: {problem}" in capsys.readouterr().out
    show_entry(found, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["served"], document["problem"]) == (False, str(problem))
    show_listing(listing(found.entry), "table")
    assert capsys.readouterr().out.splitlines()[1].endswith(str(problem))


def test_an_unreadable_key_shows_no_value_and_does_not_crash(capsys: Captured) -> None:
    broken = CacheEntry("delivery", KEY, ("5.2", "24.5"), None, 7, (), Problem.CORRUPT)

    for output in ("table", "json", "ndjson", "csv", "ids"):
        show_listing(listing(broken), output)
        assert "5.2" in capsys.readouterr().out
    show_entry(Found(broken, NOW, enabled=True), as_json=False)
    printed = capsys.readouterr().out
    assert "no: corrupt" in printed
    assert "CHARGE" not in printed
    assert "never" in printed


def test_another_programs_key_of_one_part_is_a_row_like_any_other(capsys: Captured) -> None:
    odd = CacheEntry("delivery", "delivery:cache:zone-7", ("zone-7",), 1000, 7, (), Problem.CORRUPT)

    for output in ("table", "json", "ndjson", "csv", "ids"):
        show_listing(listing(odd), output)
        assert "zone-7" in capsys.readouterr().out


def test_a_key_without_an_answer_says_so(capsys: Captured) -> None:
    show_entry(Found(coupon(), NOW, enabled=True), as_json=False)

    assert "no: there is no answer in it" in capsys.readouterr().out


def test_a_cache_that_is_switched_off_serves_nothing_and_names_the_variable(capsys: Captured) -> None:
    show_entry(Found(charge(), NOW, enabled=False), as_json=False)

    printed = capsys.readouterr()
    assert "no: the cache is switched off" in printed.out
    assert "REDIS_ENABLE_DELIVERY_CACHE is false here" in printed.err


def test_what_an_answer_says_of_a_shopper_is_masked_in_every_format_unless_revealed(capsys: Captured) -> None:
    entry = coupon(PERSONAL)
    change = Replacement("coupon", entry.key, entry.answers[0], PERSONAL, 600, enabled=True, context=DIGEST)

    def everything(*, reveal: bool) -> str:
        for output in ("table", "json", "ndjson", "csv", "ids"):
            show_listing(listing(entry), output, reveal=reveal)
        for as_json in (False, True):
            show_entry(Found(entry, NOW, enabled=True), as_json=as_json, reveal=reveal)
            show_replacement(change, as_json=as_json, reveal=reveal)
        printed = capsys.readouterr()
        return printed.out + printed.err + "".join(describe_replacement(change, reveal=reveal))

    masked = everything(reveal=False)
    assert not any(secret in masked for secret in SECRETS)
    assert '"discount": 5' in masked
    revealed = everything(reveal=True)
    assert all(secret in revealed for secret in SECRETS)


def test_nothing_that_is_cached_can_reach_the_terminal_as_control_characters(capsys: Captured) -> None:
    entries = (coupon({"valid": True, "code": HOSTILE}, code=f"A{HOSTILE}"), charge({HOSTILE: HOSTILE}))
    for entry in entries:
        for output in ("table", "json", "ndjson", "csv", "ids"):
            show_listing(listing(entry), output, reveal=True)
        for as_json in (False, True):
            show_entry(Found(entry, NOW, enabled=True), as_json=as_json, reveal=True)

    printed = capsys.readouterr().out
    assert not any(character in printed for character in "\x1b\x07\x9b\u202e")


def test_a_coupon_counts_its_answers_those_that_are_valid_and_those_that_are_served(capsys: Captured) -> None:
    entry = coupon({"valid": True}, {"valid": False})
    stale = Answer({"valid": True}, NOW, NOW + 1, DIGEST, Problem.INVALIDATED)
    show_listing(listing(CacheEntry("coupon", entry.key, entry.names, 90_000, 1, (*entry.answers, stale))), "csv")

    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [row[name] for name in ("answers", "validAnswers", "servedAnswers", "served")] == ["3", "2", "2", "true"]


def test_a_list_says_where_to_go_on_on_stderr_and_in_the_json(capsys: Captured) -> None:
    show_listing(listing(charge(), cursor="1234"), "json")

    printed = capsys.readouterr()
    assert json.loads(printed.out)["nextCursor"] == "1234"
    assert printed.err == "looked at 1,000 keys; there may be more: --cursor 1234\n"
    show_listing(listing(charge()), "json")
    assert json.loads(capsys.readouterr().out)["nextCursor"] is None


def test_ids_are_what_get_takes(capsys: Captured) -> None:
    show_listing(listing(charge()), "ids")
    show_listing(listing(coupon({"valid": True})), "ids")

    assert capsys.readouterr().out == "5.2 24.5\nWELCOME10\n"


def test_a_replacement_shows_before_and_after() -> None:
    before = Answer(3.9, NOW, NOW, None, Problem.INVALIDATED)
    assert describe_replacement(Replacement("delivery", KEY, before, {"charge": 4}, 300, enabled=True)) == [
        KEY,
        "  before: 3.9 (not served: invalidated)",
        '  after:  {"charge": 4}, for about 5m',
    ]
    assert "  before: nothing" in describe_replacement(Replacement("delivery", KEY, None, 4, 300, enabled=True))


@pytest.mark.parametrize(
    ("count", "exact", "shown"),
    [(3, True, "3 cached, stale or not"), (1000, False, "at least 1,000 cached, stale or not"),
     (None, False, "Redis does not let us count what is cached")],
)  # fmt: skip
def test_an_invalidation_says_how_much_it_affects_and_whether_that_is_exact(
    count: int | None, exact: bool, shown: str, capsys: Captured
) -> None:
    affected = Invalidation("delivery", "from 5 to 10 km", count, exact, (KEY,) if count else (), done=True)

    assert describe_invalidation(affected)[0] == f"delivery charges from 5 to 10 km: {shown}"
    show_invalidation(affected, as_json=False)
    assert capsys.readouterr().out == f"invalidated delivery charges from 5 to 10 km ({shown})\n"
    show_invalidation(affected, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["count"], document["exact"], document["invalidated"]) == (count, exact, True)

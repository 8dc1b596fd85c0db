from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkout_cli.commands.memory.groups_view import show_families, spark
from checkout_cli.commands.memory.measure import Method
from checkout_cli.commands.memory.tally import BigKey, Bound, FamiliesReport, FamilyMemory, Stopped
from checkout_cli.keys import Family
from checkout_cli.units import size

NONE = (0,) * 7
SESSIONS = FamilyMemory(Family.SESSIONS, 1000, 3 << 20, 0, (0, 0, 0, 1000, 0, 0, 0))
INDEX = FamilyMemory(Family.INDEX, 1, 1 << 20, 1, NONE)
REPORT = FamiliesReport(
    0, "here:6379", 1.25, (SESSIONS, INDEX), (BigKey(b"checkout:index", 1 << 20),), 1001, 1001, Method.MEMORY_USAGE
)


def test_shares_are_of_all_that_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    show_families(REPORT, "table")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("all keys: 1,001 keys of here:6379")
    assert shown[2].split() == ["sessions", "1,000", "3.0", "MiB", "75.0%", "0"]
    assert shown[4].split() == ["all", "1,001", "4.0", "MiB"]


def test_a_sample_tells_its_bounds_and_what_it_cannot_bound(capsys: pytest.CaptureFixture[str]) -> None:
    sessions = replace(SESSIONS, keys_bound=Bound(900, 1100), size_bound=Bound(2 << 20, 4 << 20))
    index = replace(INDEX, keys_bound=Bound(1, 12), size_bound=Bound(1 << 20, None))
    report = replace(REPORT, families=(sessions, index), sample=True)
    show_families(report, "table")
    shown = capsys.readouterr().out.splitlines()
    assert shown[2].split()[:6] == ["sessions", "1,000", "10.0%", "3.0", "MiB", "33.3%"]
    assert shown[3].split()[:6] == ["index", "1", "+11", "1.0", "MiB", "?"]
    show_families(report, "json")
    document = json.loads(capsys.readouterr().out)
    assert document["families"]["sessions"]["keysBound"] == {"low": 900, "high": 1100}
    assert document["families"]["index"]["bytesBound"] == {"low": 1 << 20, "high": None}


def test_families_of_which_none_was_drawn_are_told_of_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    none = FamilyMemory(Family.STATS, 0, 0, 0, NONE, keys_bound=Bound(0, 119), size_bound=Bound(0, None))
    show_families(replace(REPORT, families=(SESSIONS, none), sample=True), "table")
    shown = capsys.readouterr()
    assert "stats" not in shown.out
    assert "none drawn of stats: at most 119 keys of each" in shown.err


def test_a_part_says_that_it_is_one_and_where_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    show_families(replace(REPORT, stopped=Stopped.INTERRUPTED, cursor="123", total=5000), "table")
    shown = capsys.readouterr()
    assert shown.out.startswith("part: 1,001 of 5,000 keys")
    assert "--cursor 123" in shown.err


def test_sizes_that_are_unknown_are_no_zero(capsys: pytest.CaptureFixture[str]) -> None:
    unknown = replace(SESSIONS, size=None, without_ttl=None)
    report = replace(REPORT, families=(unknown,), method=Method.NONE, biggest=(), notes=("needs +memory|usage",))
    show_families(report, "table")
    shown = capsys.readouterr()
    assert shown.out.splitlines()[2].split() == ["sessions", "1,000", "?", "?"]
    assert "needs +memory|usage" in shown.err
    show_families(report, "json")
    family = json.loads(capsys.readouterr().out)["families"]["sessions"]
    assert (family["bytes"], family["share"], family["keysWithoutTtl"], family["ttl"]) == (None, None, None, None)


def test_an_empty_redis_divides_by_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    empty = tuple(FamilyMemory(family, 0, 0, 0, NONE) for family in Family)
    show_families(replace(REPORT, families=empty, biggest=(), looked_at=0, total=0), "table")
    assert "all keys: 0 keys" in capsys.readouterr().out


def test_marks_are_as_high_as_their_numbers() -> None:
    assert spark((0, 1, 4, 8)) == "·▁▄█"
    assert spark(()) == ""


@pytest.mark.parametrize(("number", "shown"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB")])
def test_sizes_are_in_the_unit_that_suits_them(number: int, shown: str) -> None:
    assert size(number) == shown

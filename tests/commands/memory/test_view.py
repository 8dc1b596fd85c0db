from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkout_cli.commands.memory.eviction import Checkouts, EvictionRisk
from checkout_cli.commands.memory.growth import Growth
from checkout_cli.commands.memory.show import MemoryLook, MemoryReport
from checkout_cli.commands.memory.view import bar, show_memory
from checkout_cli.keys import Family

RISK = EvictionRisk(
    "of all keys, any first", 1000, False, Checkouts(500, 9000.5), Checkouts(20, 300), 4096, 25, {Family.SESSIONS: 25}
)
MEMORY = MemoryLook(
    "here:6379",
    used=600,
    limit=1000,
    limit_known=True,
    resident=900,
    policy="allkeys-random",
    growth=Growth(120, 20, 4),
    evicted=7,
    overheads={"data": 400, "aofBuffer": 0},
    risk=RISK,
)


def text(memory: MemoryLook, capsys: pytest.CaptureFixture[str]) -> str:
    show_memory(MemoryReport(0, (memory,)), as_json=False)
    return capsys.readouterr().out


def test_a_person_sees_how_long_it_lasts_and_whom_it_hurts(capsys: pytest.CaptureFixture[str]) -> None:
    shown = text(MEMORY, capsys)
    assert "600 B of 1000 B (60.0%)" in shown
    assert "40 minutes (40m)" in shown
    assert "+10 B a minute" in shown
    assert "900 B, 1.50 × used" in shown
    assert "7 since the server started; 4 since the last look, 2.0 a minute" in shown
    assert "about 500, baskets worth 9,000.50" in shown
    assert "about 25 keys (25 sessions), among them 20 open checkouts worth 300.00" in shown
    assert "judged from 1,000 keys" in shown


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (replace(MEMORY, used=1000), "it is full now"),
        (replace(MEMORY, growth=Growth(60, -1, 0)), "it does not grow"),
        (replace(MEMORY, limit=None), "no limit"),
        (replace(MEMORY, limit=None, system=6000), "no limit; the machine has 5.9 KiB (10.0%)"),
        (replace(MEMORY, limit=None, limit_known=False), "limit unknown"),
        (replace(MEMORY, growth=Growth(60, 1e-9, 0)), "more than a year"),
        (replace(MEMORY, risk=None, no_risk="needs +scan"), "unknown: needs +scan"),
        (replace(MEMORY, no_risk="nothing is evicted without a limit"), "nothing is evicted without a limit"),
        (replace(MEMORY, risk=replace(RISK, keys=0, families={})), "there are none, so writes are refused"),
    ],
)
def test_each_state_is_said_in_words(memory: MemoryLook, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = text(memory, capsys)
    assert words in shown
    assert not {"nan", "inf", "None"} & set(shown.split())


def test_json_has_every_number_with_its_unit_and_null_for_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    show_memory(MemoryReport(0, (MEMORY, MemoryLook("there:1", 5, None, False)), ("away:1",)), as_json=True)
    shown = capsys.readouterr()
    one, two = json.loads(shown.out)["servers"]
    assert (one["minutesUntilFull"], one["headroomBytes"], one["fullness"]) == (40.0, 400, 0.6)
    assert one["sinceLastLook"] == {
        "seconds": 120,
        "bytes": 20,
        "bytesPerMinute": 10,
        "evicted": 4,
        "evictedPerMinute": 2.0,
    }
    assert one["evictedFirst"]["evictedCheckouts"] == {"number": 20, "basketValue": 300}
    assert (two["limitBytes"], two["minutesUntilFull"], two["neverFull"]) == (None, None, "the limit is unknown")
    assert two["peakBytes"] is two["residentBytes"] is two["fragmentation"] is two["policy"] is None
    assert "away:1" in shown.err


@pytest.mark.parametrize(("part", "filled"), [(-1, 0), (0, 0), (0.5, 12), (1, 24), (7, 24)])
def test_a_bar_never_leaves_its_frame(part: float, filled: int) -> None:
    assert len(bar(part)) == 24
    assert bar(part).count(bar(1)[0]) == filled

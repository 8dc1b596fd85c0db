"""``top`` as a JSON document, or as one frame."""

from __future__ import annotations

import sys
from typing import Any

from rich.text import Text

from checkout_cli.commands.health.snapshot import MINUTES
from checkout_cli.commands.health.view import document as health_document
from checkout_cli.commands.memory.show import MemoryLook
from checkout_cli.commands.sessions.view import summary
from checkout_cli.commands.slowlog.slowlog import ShapeTotal
from checkout_cli.commands.stats.stats import StatisticsLook
from checkout_cli.commands.stats.view import document as statistics_document
from checkout_cli.commands.top.frame_view import Room, frame
from checkout_cli.commands.top.top import TopLook
from checkout_cli.terminal.output import console, is_terminal, show, write_json, write_line


def show_top(look: TopLook, *, as_json: bool = False) -> None:
    """One look on stdout: all of it, in lines that only a terminal cuts."""
    if as_json:
        write_json(document(look))
    elif is_terminal(sys.stdout):
        show(Text("\n").join(frame(look, Room(console().width))))
    else:
        for line in frame(look, Room()):
            write_line(line.plain.rstrip())


def document(look: TopLook) -> dict[str, Any]:
    """A look as JSON: what ``health --json`` says, and what else moves; ``null`` is what nobody knows."""
    seen = look.snapshot
    ending = look.ending
    statistics = StatisticsLook(seen.taken_at, MINUTES, seen.report) if seen.report is not None else None
    return {
        **health_document(seen.health),
        "secondsTaken": round(seen.seconds, 3),
        "servers": [_memory(memory) for memory in look.memory],
        "livingByStatus": seen.statuses,
        "statistics": None if statistics is None else statistics_document(statistics),
        "endingSoon": None
        if ending is None
        else {
            "exact": ending.exact,
            "sessions": [summary(sighting, seen.taken_at) for sighting in ending.sightings],
        },
        "endingSoonUnknown": look.why_no_ending or None,
        "slowCommands": None if look.slow is None else [_slow(total) for total in look.slow],
        "slowCommandsUnknown": look.why_no_slow or None,
    }


def _memory(memory: MemoryLook) -> dict[str, Any]:
    return {
        "server": memory.place,
        "usedBytes": memory.used,
        "limitBytes": memory.limit,
        "fullness": None if memory.fullness is None else round(memory.fullness, 4),
        "growthBytesPerMinute": None if memory.growth is None else round(memory.growth.size_per_minute),
        "minutesUntilFull": None if memory.minutes_until_full is None else round(memory.minutes_until_full, 1),
        "neverFull": memory.never_full or None,
        "policy": memory.policy or None,
        "evictedKeys": memory.evicted,
    }


def _slow(total: ShapeTotal) -> dict[str, Any]:
    return {
        "command": total.name,
        "family": total.family or None,
        "calls": total.calls,
        "totalMs": round(total.total * 1000, 3),
        "longestMs": round(total.longest * 1000, 3),
    }

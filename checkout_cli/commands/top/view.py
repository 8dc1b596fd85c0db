"""``top`` as a JSON document, or as one frame."""

from __future__ import annotations

import sys
from typing import Any

from rich.text import Text

from checkout_cli.commands.health.snapshot import MINUTES
from checkout_cli.commands.sessions.view import summary
from checkout_cli.commands.stats.stats import StatisticsLook
from checkout_cli.commands.top.frame_view import Room, frame
from checkout_cli.commands.top.top import TopLook
from checkout_cli.terminal.document import document as document_of
from checkout_cli.terminal.output import console, is_terminal, leave_next_out, show, write_json, write_line

_MEMORY = (
    "server=place usedBytes=used limitBytes=limit fullness:4 growthBytesPerMinute=growth.size_per_minute:0 "
    "minutesUntilFull:1 neverFull? policy? evictedKeys=evicted"
)
_SLOW = "command=name family? calls totalMs=total longestMs=longest"


def show_top(look: TopLook, *, as_json: bool = False) -> None:
    """One frame on stdout, in lines that only a terminal cuts."""
    if as_json:
        write_json(document(look))
        leave_next_out()  # it is in the document
    elif is_terminal(sys.stdout):
        show(Text("\n").join(frame(look, Room(console().width))))
    else:
        for line in frame(look, Room()):
            write_line(line.plain.rstrip())


def document(look: TopLook) -> dict[str, Any]:
    """A frame as JSON: ``health --json``, and all else; ``null`` is unknown."""
    seen, ending, statistics = look.snapshot, None, None
    if seen.report is not None:
        statistics = document_of(StatisticsLook(seen.taken_at, MINUTES, seen.report))
    if look.ending is not None:
        sessions = [summary(sighting, seen.taken_at) for sighting in look.ending.sightings]
        ending = {"exact": look.ending.exact, "sessions": sessions}
    return {
        **document_of(seen.health),
        "secondsTaken": round(seen.seconds, 3),
        "servers": [document_of(memory, _MEMORY) for memory in look.memory],
        "livingByStatus": seen.statuses,
        "statistics": statistics,
        "endingSoon": ending,
        "endingSoonUnknown": look.why_no_ending or None,
        "slowCommands": None if look.slow is None else [document_of(total, _SLOW) for total in look.slow],
        "slowCommandsUnknown": look.why_no_slow or None,
    }

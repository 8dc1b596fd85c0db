"""What our own commands leave on servers, so that ``doctor`` raises no alarm about it.

Kept in the user's state directory, so it knows of this user's commands on this machine alone.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from checkout_cli.files.state_file import StateFile

SLACK = 60_000
"""Milliseconds by which a session may live longer than it was extended to."""


class Trace(msgspec.Struct, frozen=True):
    """At which moment (ms) something was done; of an extension, the end (ms) that it gave."""

    at: int
    until: int = 0


def _file(name: str, directory: Path | None) -> StateFile[Trace]:
    return StateFile(name, Trace, lambda trace: trace.at, directory)


def _monitors(directory: Path | None) -> StateFile[Trace]:
    return _file("own-monitors.json", directory)


def _extensions(directory: Path | None) -> StateFile[Trace]:
    return _file("own-extensions.json", directory)


def note_monitor(place: str, at: int, directory: Path | None = None) -> None:
    """Note that our MONITOR began on the server at ``place``."""
    with suppress(OSError):  # doctor then tells of it
        _monitors(directory).put(f"{at} {place}", Trace(at))


def monitors_since(place: str, moment: int, directory: Path | None = None) -> int:
    """How many of ours began on the server at ``place`` since a moment (ms)."""
    noted = _monitors(directory).read()
    return sum(trace.at >= moment and name.partition(" ")[2] == place for name, trace in noted.items())


def note_extension(checkout_id: str, at: int, until: int, directory: Path | None = None) -> None:
    """Note that ``sessions extend`` gave a session this end (ms)."""
    with suppress(OSError):  # doctor then tells of it
        _extensions(directory).put(checkout_id, Trace(at, until))


def is_extended(checkout_id: str, ends_at: int, directory: Path | None = None) -> bool:
    """Whether a session ends so late (ms) because it was extended."""
    trace = _extensions(directory).last(checkout_id)
    return trace is not None and ends_at <= trace.until + SLACK

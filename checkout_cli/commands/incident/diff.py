"""The changes between two incident files, such as a healthy one and the one of tonight."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkout_cli.errors import InvalidInput

KIND = "checkoutctl incident"
"""The ``kind`` of an incident file."""
LARGEST_FILE = 64 << 20
"""In bytes; ours are far smaller."""
PARTS = ("doctor", "health", "configuration", "versions", "memory", "slowLog", "latency", "info")
"""In the order in which a change matters."""

_NAMES = ("id", "variable", "shape", "event", "command", "server", "place")
"""The keys that name an item of a list."""
_NOISE = frozenset({"timestamp", "latencyMs", "evidence", "takenAt", "ageSeconds", "samplesMs", "schemaVersion"})
"""Keys that always differ, and say nothing."""


@dataclass(frozen=True)
class Change:
    """A value that differs; ``None`` where one of the files lacks it."""

    part: str
    path: str
    before: Any
    after: Any

    @property
    def growth(self) -> float | None:
        numbers = (self.before, self.after)
        if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
            return None
        return float(self.after) - float(self.before)


@dataclass(frozen=True)
class IncidentDiff:
    """All changes, the most important first; ``before`` and ``after`` are the moments in the files."""

    before: str
    after: str
    changes: tuple[Change, ...]


def compare(before: Path, after: Path) -> IncidentDiff:
    """Compare two files; raises :class:`InvalidInput` where one is unreadable or no incident file."""
    old, new = _read(before), _read(after)
    parts = [*PARTS, *sorted((set(old) | set(new)) - {*PARTS, *_NOISE, "kind"})]
    changes = [change for part in parts for change in _changes(part, old.get(part), new.get(part))]
    return IncidentDiff(str(old.get("timestamp")), str(new.get("timestamp")), tuple(changes))


def _read(path: Path) -> dict[str, Any]:
    hint = "checkoutctl incident --out FILE makes one"
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidInput(f"{path}: too large for an incident file", hint=hint)
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not JSON", hint=hint) from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise InvalidInput(f"{path}: not an incident file", hint=hint)
    return document


def _changes(part: str, old: Any, new: Any) -> Iterator[Change]:
    before, after = dict(_flat(old)), dict(_flat(new))
    for path in dict.fromkeys([*after, *before]):
        if before.get(path) != after.get(path):
            yield Change(part, path, before.get(path), after.get(path))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf by its path; list items by their names, or only their number where they have none."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _NOISE:
                yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        yield from _flat_list(value, path)
    else:
        yield path, value


def _flat_list(items: Sequence[Any], path: str) -> Iterator[tuple[str, Any]]:
    named = {_name(item): item for item in items}
    if items and None not in named and len(named) == len(items):
        for name, item in named.items():
            yield from _flat(item, f"{path}[{name}]")
    elif all(not isinstance(item, (Mapping, list)) for item in items):
        yield path, ", ".join(map(str, items))
    else:
        yield f"{path}.length", len(items)


def _name(item: Any) -> str | None:
    if not isinstance(item, Mapping):
        return None
    return next((str(item[name]) for name in _NAMES if isinstance(item.get(name), str)), None)

"""What a command remembers of each server until its next run, in a file of the user's state directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from checkout_cli.config.trusted_file import read_regular
from checkout_cli.files.atomic_file import NoHome, state_directory, write_atomically

MOST_ENTRIES = 100
"""The newest are kept."""
LARGEST = 16 * 2**20
"""Bytes that are read: far more than so many entries have."""

_T = TypeVar("_T", bound=msgspec.Struct)


class StateFile(Generic[_T]):
    """Entries of one kind by name; a damaged file counts as empty, and the next write replaces it."""

    def __init__(self, name: str, kind: type[_T], moment: Callable[[_T], int], directory: Path | None = None) -> None:
        """``moment`` is an entry's age key; ``directory`` defaults to ``$XDG_STATE_HOME/checkoutctl``."""
        self._name = name
        self._kind = kind
        self._moment = moment
        self.directory = directory
        """Another one than the user's state directory, if any."""

    @property
    def path(self) -> Path:
        """The file; raises ``OSError`` where there is no place for state."""
        return (self.directory or state_directory()) / self._name

    def reason(self, error: OSError) -> str:
        """Why the file cannot be written, with its path where it has one."""
        why = error.strerror or str(error)
        return why if isinstance(error, NoHome) else f"{self.path}: {why}"

    def read(self) -> dict[str, _T]:
        try:
            content, _ = read_regular(self.path, LARGEST)
            return msgspec.json.decode(content, type=dict[str, self._kind])  # type: ignore[name-defined]
        except (OSError, ValueError, msgspec.MsgspecError, UnicodeDecodeError):
            return {}

    def write(self, entries: Mapping[str, _T]) -> None:
        """Replace all entries by the newest of these; raises ``OSError``."""
        newest = sorted(entries, key=lambda name: self._moment(entries[name]))[-MOST_ENTRIES:]
        write_atomically(self.path, msgspec.json.encode({name: entries[name] for name in newest}))

    def last(self, name: str) -> _T | None:
        return self.read().get(name)

    def put(self, name: str, entry: _T | None) -> None:
        """Replace an entry, or remove it (``None``); raises ``OSError``."""
        others = {other: kept for other, kept in self.read().items() if other != name}
        self.write(others if entry is None else others | {name: entry})

"""The last change of ``memory tune`` at each server, in a file of the user's own, so that it can be undone."""

from __future__ import annotations

from pathlib import Path

import msgspec

from checkout_cli.errors import CheckoutError
from checkout_cli.files.state_file import StateFile

FILE = "tune-undo.json"


class Change(msgspec.Struct, frozen=True):
    """A change at ``changed_at`` (ms since the epoch); ``run`` is the server's ``run_id`` then, empty if unknown.

    ``before`` and ``after`` are the changed settings, and no others.
    """

    changed_at: int
    run: str
    before: dict[str, str]
    after: dict[str, str]


class UndoFile(StateFile[Change]):
    """The last change of each server, by its place."""

    def __init__(self, directory: Path | None = None) -> None:
        super().__init__(FILE, Change, lambda change: change.changed_at, directory)

    def put(self, name: str, entry: Change | None) -> None:
        """Store a change, or, with ``None``, that there is nothing to undo.

        Raises:
            CheckoutError: the file cannot be written.
        """
        try:
            super().put(name, entry)
        except OSError as error:
            raise CheckoutError(
                f"the record for --undo cannot be written: {self.path}: {error.strerror or error}",
                hint="set XDG_STATE_HOME to a directory that you can write to",
            ) from error

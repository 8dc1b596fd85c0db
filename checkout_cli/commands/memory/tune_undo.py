"""What ``memory tune`` changed last at each server, so that it can be taken back: a file of the user's own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from checkout_cli.commands.memory.limits import Limits
from checkout_cli.errors import CheckoutError
from checkout_cli.files.state_file import StateFile

FILE = "tune-undo.json"


class Change(msgspec.Struct, frozen=True):
    """A change at ``changed_at`` (ms since the epoch); ``run`` is the server's ``run_id`` then, empty if not known.

    ``before`` and ``after`` are the settings that were changed, and no others.
    """

    changed_at: int
    run: str
    before: dict[str, str]
    after: dict[str, str]

    @property
    def limits_before(self) -> Limits:
        """What it was."""
        return Limits.of(self.before)

    @property
    def limits_after(self) -> Limits:
        """What we set."""
        return Limits.of(self.after)


class UndoFile(StateFile[Change]):
    """The last change of each server, by its place."""

    def __init__(self, directory: Path | None = None) -> None:
        """``directory`` defaults to the user's state directory (``$XDG_STATE_HOME/checkoutctl``)."""
        super().__init__(FILE, Change, lambda change: change.changed_at, directory)

    def put(self, name: str, entry: Change | None) -> None:
        """Remember a change, or, with ``None``, that there is nothing to take back.

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

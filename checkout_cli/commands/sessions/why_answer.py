"""The answers of ``sessions why``: a cause, what was seen for it, and a next step that keeps all of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from pathlib import Path
from typing import Any

from checkout_cli.commands.sessions.trace import Trace
from checkout_cli.domain.users import User
from checkout_cli.errors import ExitCode


class Cause(StrEnum):
    """What became of a session."""

    ALIVE = auto()
    EXTERNAL = auto()
    EXTERNAL_WRITE = auto()
    EXTERNAL_CONFLICT = auto()
    WAITS_FOR_DATABASE = auto()
    WAITS_FOR_REDIS = auto()
    ONLY_IN_DATABASE = auto()
    EVICTED = auto()
    RESTARTED = auto()
    CORRUPT_COPY = auto()
    STALE = auto()
    AHEAD = auto()
    ORPHAN = auto()
    CORRUPT = auto()
    EXPIRED = auto()
    TOO_OLD = auto()
    DELETED = auto()
    DANGLING = auto()
    ONLY_PENDING = auto()
    LOST_CONFLICT = auto()
    NEVER_SEEN = auto()
    UNKNOWN = auto()


HINTS = {
    Cause.EXTERNAL_WRITE: "checkoutctl sync",
    Cause.EXTERNAL_CONFLICT: "checkoutctl sessions trace {}",
    Cause.WAITS_FOR_DATABASE: "checkoutctl sync",
    Cause.WAITS_FOR_REDIS: "checkoutctl sync",
    Cause.ONLY_IN_DATABASE: "checkoutctl sessions trace {}",
    Cause.EVICTED: "checkoutctl doctor --only memory",
    Cause.RESTARTED: "checkoutctl doctor --only persistence",
    Cause.CORRUPT_COPY: "checkoutctl sessions show {}",
    Cause.STALE: "checkoutctl sessions trace {}",
    Cause.AHEAD: "checkoutctl doctor --only database,sessions",
    Cause.ORPHAN: "checkoutctl sessions trace {}",
    Cause.CORRUPT: "checkoutctl sessions show {}",
    Cause.EXPIRED: "checkoutctl sessions show {}",
    Cause.TOO_OLD: "checkoutctl sessions show {}",
    Cause.DELETED: "checkoutctl sessions trace {}",
    Cause.DANGLING: "checkoutctl sessions index check",
    Cause.ONLY_PENDING: "checkoutctl cleanup --orphans --dry-run",
    Cause.LOST_CONFLICT: "checkoutctl sync --conflicts",
    Cause.NEVER_SEEN: "checkoutctl sessions list",
    Cause.UNKNOWN: "checkoutctl health",
}
"""The next step; none of them removes what the answer rests on."""
EXIT_CODES = {
    Cause.UNKNOWN: ExitCode.UNAVAILABLE,
    **dict.fromkeys((Cause.EXPIRED, Cause.TOO_OLD, Cause.DELETED, Cause.NEVER_SEEN), ExitCode.NOT_FOUND),
    **dict.fromkeys((Cause.ALIVE, Cause.EXTERNAL, Cause.EXTERNAL_WRITE), ExitCode.OK),
}
"""Of any other cause, 1: something is wrong."""


@dataclass(frozen=True)
class Answer:
    """What became of a session, the evidence, and the next command.

    ``fields`` is the content that is known last, ``None`` where no tier and no undo file has any; ``undo_file`` is that
    of its deletion.
    """

    JSON_KEYS = "checkoutId=trace.checkout_id cause answer=sentence evidence undoFile next?=hint"

    trace: Trace
    cause: Cause
    sentence: str
    evidence: tuple[str, ...]
    hint: str = ""
    fields: Mapping[str, Any] | None = None
    undo_file: Path | None = None

    @property
    def exit_code(self) -> ExitCode:
        """0 alive and well, 1 something is wrong, 3 ended, 69 unknown."""
        return EXIT_CODES.get(self.cause, ExitCode.FINDING)

    @property
    def next_step(self) -> str:
        return self.hint or "checkoutctl doctor"


@dataclass(frozen=True)
class UserAnswer:
    """A user's sessions, those that have ended last, and tracking; not ``complete`` where some were not read."""

    user_id: str
    now: int
    tracked: User | None
    answers: tuple[Answer, ...]
    complete: bool

    @property
    def exit_code(self) -> ExitCode:
        """That of the first session with which something is wrong; else 3 where nothing is known or all have ended."""
        codes = [answer.exit_code for answer in self.answers]
        wrong = [code for code in codes if code not in {ExitCode.OK, ExitCode.NOT_FOUND}]
        if wrong:
            return wrong[0]
        is_known = ExitCode.OK in codes or (not codes and self.tracked is not None)
        return ExitCode.OK if is_known else ExitCode.NOT_FOUND

    @property
    def next_step(self) -> str:
        """That of the first that is not 0."""
        found = (answer.next_step for answer in self.answers if answer.exit_code)
        return next(found, "checkoutctl users list")

"""What is told of families of keys: counted, or estimated with bounds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from checkout_cli.commands.memory.measure import Method
from checkout_cli.commands.memory.tally import BigKey
from checkout_cli.errors import ExitCode
from checkout_cli.keys import Family


class Stopped(StrEnum):
    """Why not all was looked at."""

    INTERRUPTED = "interrupted"
    TIME_IS_UP = "timeIsUp"


@dataclass(frozen=True)
class Bound:
    """Between which numbers the true one lies, with 95 % certainty; ``high`` is ``None`` where nothing tells."""

    low: int
    high: int | None


@dataclass(frozen=True)
class FamilyMemory:
    """One family: keys, their bytes, those that never end, the others by time to live (``TTL_STEPS``).

    The bounds are those of an estimate; ``None`` of what was counted. ``size`` and ``without_ttl`` are ``None`` where
    this server does not tell; ``unmeasured`` are keys that are not in ``size``.
    """

    family: Family
    keys: int
    size: int | None
    without_ttl: int | None
    ttls: tuple[int, ...]
    unmeasured: int = 0
    keys_bound: Bound | None = None
    size_bound: Bound | None = None


@dataclass(frozen=True)
class FamiliesReport:
    """All families; ``timestamp`` in ms since the epoch, ``took`` in seconds.

    ``looked_at`` are keys that were measured, ``total`` what DBSIZE said at the beginning. ``sample`` is whether the
    numbers are estimates. ``cursor`` is where to go on, if ``stopped``, and ``resumed`` says that this was itself the
    going on: nothing of the part before is in the numbers. ``missing`` are servers of a cluster that did not answer.
    """

    timestamp: int
    place: str
    took: float
    families: tuple[FamilyMemory, ...]
    biggest: tuple[BigKey, ...]
    looked_at: int
    total: int | None
    method: Method
    sample: bool = False
    stopped: Stopped | None = None
    cursor: str | None = None
    resumed: bool = False
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """130 after Ctrl-C, and a finding where a server did not answer."""
        if self.stopped is Stopped.INTERRUPTED:
            return ExitCode.INTERRUPTED
        return ExitCode.FINDING if self.missing else ExitCode.OK

    @property
    def partial(self) -> bool:
        """Whether keys are missing from the numbers."""
        return self.stopped is not None or self.resumed or bool(self.missing)

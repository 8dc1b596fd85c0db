"""What comes of a ping: its stages, answers and failure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from checkout_cli.config.addresses import address_text
from checkout_cli.errors import CheckoutError, ExitCode

PERCENTILES = {"minMs": 0, "medianMs": 50, "p99Ms": 99, "maxMs": 100}


class Stage(StrEnum):
    """The steps to an answer, in their order."""

    SENTINEL = "Sentinel"
    SOCKET = "socket"
    DNS = "DNS"
    TCP = "TCP"
    TLS = "TLS"
    AUTHENTICATION = "authentication"
    COMMAND = "command"


@dataclass(frozen=True)
class Connected:
    """The address that answered, and how many seconds each stage took."""

    address: str
    stages: Mapping[Stage, float]


@dataclass(frozen=True)
class RoundTrip:
    """One answered PING; ``sequence`` counts from 1."""

    sequence: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """The stage that failed, and the error, which knows the exit code and the next step."""

    JSON_KEYS = "stage error hint=error.hint"

    stage: Stage
    error: CheckoutError


@dataclass
class PingSummary:
    """The result of a ping so far. ``samples`` are in seconds, in the order in which they were taken.

    ``socket`` is the path of the Unix socket where there is one; host and port then mean nothing.
    """

    JSON_KEYS = (
        "*target socket? address=connected.address stagesMs=connected.stages sent answered *percentiles "
        "samplesMs=samples failure"
    )

    host: str
    port: int
    socket: str = ""
    count: int = 0
    connected: Connected | None = None
    sent: int = 0
    samples: list[float] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def exit_code(self) -> ExitCode:
        """That of the failure, if there was one; 130 if it ended before ``count`` answers (0: it never ends)."""
        if self.failure is not None:
            return self.failure.error.exit_code
        return ExitCode.INTERRUPTED if self.count == 0 or self.answered < self.count else ExitCode.OK

    @property
    def next_step(self) -> str:
        return "" if self.failure is None else self.failure.error.next_step

    @property
    def place(self) -> str:
        """The socket or address, as it can be typed again."""
        return self.socket or address_text(self.host, self.port)

    @property
    def target(self) -> dict[str, str | int | None]:
        """The host and port, where there are any."""
        return {"host": None if self.socket else self.host, "port": None if self.socket else self.port}

    @property
    def answered(self) -> int:
        """The number of PINGs that were answered."""
        return len(self.samples)

    def percentile(self, percent: float) -> float:
        """The smallest sample that at least ``percent`` of all do not exceed; 0 without samples."""
        return percentile(self.samples, percent) or 0.0

    @property
    def percentiles(self) -> dict[str, float | None]:
        """The percentiles to show, in seconds."""
        return {name: percentile(self.samples, percent) for name, percent in PERCENTILES.items()}


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile, always one of the samples; ``None`` without any."""
    if not samples:
        return None
    return sorted(samples)[max(math.ceil(len(samples) * percent / 100), 1) - 1]

"""How fast something went: medians and tails of measured times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from checkout_cli.commands.ping.summary import percentile


@dataclass(frozen=True)
class Pace:
    """Times of calls, in seconds; every one is a time that was measured."""

    SHOWN = "calls p50Ms=p50:4 p99Ms=p99:4 longestMs=longest:4"

    calls: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, times: Sequence[float]) -> Self:
        """Of at least one time."""
        ordered = sorted(times)
        return cls(len(ordered), percentile(ordered, 50) or 0.0, percentile(ordered, 99) or 0.0, ordered[-1])

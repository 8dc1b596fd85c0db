"""Durations as people type them: ``90s``, ``15m``, ``2h``, ``1d``."""

from __future__ import annotations

import re

from checkout_cli.errors import InvalidInput

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])")


def duration(text: str) -> float:
    """Seconds in a duration such as ``15m``; ``InvalidInput`` for anything else, also without a unit."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"not a duration: {text[:32]!r}", hint="a number and its unit: 90s, 15m, 2h or 1d")
    return float(match[1]) * _SECONDS[match[2]]

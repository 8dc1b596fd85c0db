"""Spans of time in words, the same wherever one is shown."""

from __future__ import annotations


def span(milliseconds: float) -> str:
    """A span of time in its largest whole unit: ``42s``, ``29m``, ``3h``, ``2d``."""
    seconds = max(0, int(milliseconds // 1000))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"

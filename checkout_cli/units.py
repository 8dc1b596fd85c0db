"""Bytes, spans of time and amounts of money for people."""

from __future__ import annotations

_BYTES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_MOST_MONEY = 10**15
_SECONDS = ((86_400, "d"), (3600, "h"), (60, "m"))


def size(number: float) -> str:
    """A number of bytes in the largest binary unit that it fills: ``1.1 GiB``."""
    for unit, name in _BYTES:
        if abs(number) >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number:.0f} B"


def span(milliseconds: float) -> str:
    """A span of time in its largest whole unit: ``42s``, ``29m``, ``3h``, ``2d``."""
    seconds = max(0, int(milliseconds // 1000))
    for unit, name in _SECONDS:
        if seconds >= unit:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def money(amount: float) -> str:
    """An amount with two decimals: ``56.60``; as it is where it has more, or is too large for money: ``0.125``."""
    return f"{amount:.2f}" if abs(amount) < _MOST_MONEY and round(amount, 2) == amount else repr(amount)

"""Bytes as a person reads them."""

from __future__ import annotations

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size(number: float) -> str:
    """A number of bytes in the largest binary unit that it fills: ``1.1 GiB``."""
    for unit, name in _UNITS:
        if abs(number) >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number:.0f} B"

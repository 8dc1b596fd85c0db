"""Numbers as a person reads them."""

from __future__ import annotations

_BINARY = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def byte_size(number: float) -> str:
    """Bytes, in the largest unit of which there is one."""
    for unit, name in _BINARY:
        if abs(number) >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number:.0f} B"

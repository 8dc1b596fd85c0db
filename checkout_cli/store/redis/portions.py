"""How much one round trip may ask for: what is fetched was measured before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Key = TypeVar("Key", bytes, bytes | str)

MOST_AT_ONCE = 16 * 2**20
"""Bytes of values that one round trip asks for: a fraction of what an exchange may bring."""


def portions(sizes: Iterable[tuple[Key, int]]) -> Iterator[list[Key]]:
    """Keys of known sizes in portions that bring no more than ``MOST_AT_ONCE`` bytes each."""
    portion: list[Key] = []
    total = 0
    for key, size in sizes:
        if portion and total + size > MOST_AT_ONCE:
            yield portion
            portion, total = [], 0
        portion.append(key)
        total += size
    if portion:
        yield portion

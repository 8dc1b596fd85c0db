"""Ids of sessions as lists show them: no longer than it takes to tell them apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_SHORTEST_ID = 8


def shortened(checkout_ids: Sequence[str]) -> list[str]:
    """The beginnings of ids, all cut at the same length and just long enough to tell them apart.

    Any of them can be given to ``sessions show``.
    """
    ordered = sorted(checkout_ids)
    length = max([_SHORTEST_ID, *(_shared(one, two) + 1 for one, two in itertools.pairwise(ordered) if one != two)])
    return [checkout_id[:length] for checkout_id in checkout_ids]


def _shared(one: str, two: str) -> int:
    """How many characters two texts begin with alike."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))

"""Session ids cut for lists, just long enough to tell them apart."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

_SHORTEST_ID = 8


def shortened(checkout_ids: Sequence[str]) -> list[str]:
    """The beginnings of ids, all of one length, which ``sessions show`` accepts."""
    ordered = sorted(checkout_ids)
    pairs = (pair for pair in itertools.pairwise(ordered) if pair[0] != pair[1])
    alike = (len(os.path.commonprefix(pair)) for pair in pairs)  # noqa: RUF071  (characters are what is meant)
    length = max([_SHORTEST_ID, *(number + 1 for number in alike)])
    return [checkout_id[:length] for checkout_id in checkout_ids]

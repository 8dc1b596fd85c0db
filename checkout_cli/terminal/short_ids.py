"""Session ids cut for lists, just long enough to tell them apart."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from checkout_cli.privacy.personal_ids import named

_SHORTEST_ID = 8


def shortened(checkout_ids: Sequence[str]) -> list[str]:
    """The beginnings of ids, which ``sessions show`` accepts; of a personal one not even that."""
    return cut([named(checkout_id) for checkout_id in checkout_ids])


def cut(texts: Sequence[str]) -> list[str]:
    """The beginnings of texts, all of one length, by which they can be told apart."""
    ordered = sorted(texts)
    pairs = (pair for pair in itertools.pairwise(ordered) if pair[0] != pair[1])
    alike = (len(os.path.commonprefix(pair)) for pair in pairs)  # noqa: RUF071  (characters are what is meant)
    length = max([_SHORTEST_ID, *(number + 1 for number in alike)])
    return [text[:length] for text in texts]

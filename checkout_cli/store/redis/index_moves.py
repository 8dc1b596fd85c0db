"""Moving our index to ``checkout:index`` once no external writer needs its SET there, and back.

Each move is one short script on one slot, whatever the number of sessions; the copying is done in pages before and
after it. All of it can be interrupted anywhere, and is finished by repeating it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import Script, register
from checkout_cli.store.redis.index import PAGE, RedisIndex
from checkout_cli.store.redis.index_place import Place
from checkout_cli.store.redis.replies import array, integer, text

NEWEST = 500
"""Sessions that a SET for an external writer begins with: the others follow page by page."""

_ADOPT, _MAKE_ROOM = register(Script("adopt_index", reply=text)), register(Script("make_room", reply=text))
_TAKE_OVER = register(Script("take_over", reply=array(integer, integer)))


class Adopted(StrEnum):
    """The outcome of putting our index at its own place."""

    ADOPTED = "adopted"
    WAITING = "waiting"
    """The SET of an earlier adoption waits still: that has to be finished first."""
    OTHER = "other"
    """What is at ``checkout:index`` is no SET."""


class IndexMoves:
    """The moves of one Redis' index. Every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    def __init__(self, tier: RedisAdmin, index: RedisIndex) -> None:
        self._tier, self._index = tier, index

    # To its own place

    def adopt(self) -> Adopted:
        """Put our index, which should have all ids of the SET, at ``checkout:index``, and the SET aside."""
        outcome = self._tier.ask(_ADOPT.call_on((INDEX, INDEX_BESIDE, INDEX_ASIDE)))
        self._index.layout()
        return Adopted(outcome.decode())

    def finish(self, now: int) -> Iterator[int]:
        """Finish an adoption, interrupted or not; yields how many new entries ours got, page by page."""
        layout = self._index.layout()
        self._index.absorb()
        looked_at = 1 if INDEX_ASIDE in layout.others else 0
        while looked_at:
            looked_at, new = self._tier.ask(_TAKE_OVER.call_on((layout.key, INDEX_ASIDE), PAGE, now))
            yield int(new)
        self._index.layout()

    # Beside a SET

    def is_in_the_way(self) -> bool:
        """Whether our index is known to lie at ``checkout:index``, so that an external SADD fails."""
        return self._tier.index_place.known().place is Place.OWN

    def make_room(self) -> Iterator[int]:
        """Begin or fill a SET of our ids at ``checkout:index`` for an external writer; yields how many were added."""
        yield self._begin_set()
        if self._index.layout().place is not Place.BESIDE_SET:
            return
        for entries in self._index.entries():
            yield self._fill([entry.checkout_id for entry in entries])

    def _begin_set(self) -> int:
        outcome = b"stray"
        while outcome == b"stray" and self._index.layout().place is Place.OWN:
            self._index.absorb()
            outcome = self._tier.ask(_MAKE_ROOM.call_on((INDEX, INDEX_BESIDE), NEWEST))
        return int(self._tier.ask(("SCARD", INDEX))) if outcome == b"made" else 0

    def _fill(self, checkout_ids: list[str]) -> int:
        """Add ids of living sessions: the external writer has removed the others itself."""
        ttls = self._tier.remaining(checkout_ids)
        return self._index.fill_set([name for name, ttl in zip(checkout_ids, ttls, strict=True) if ttl != -2])

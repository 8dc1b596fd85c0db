"""Moving our index: to ``checkout:index`` once no older program needs its SET there, and beside it again.

Each move is one short script on one slot, whatever the number of sessions; what has to be copied is copied before and
after it, page by page. All of it can be interrupted anywhere, and is finished by doing it again.
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
"""Sessions that a SET for an older program begins with: the others follow page by page."""

_ADOPT, _MAKE_ROOM = register(Script("adopt_index", reply=text)), register(Script("make_room", reply=text))
_TAKE_OVER = register(Script("take_over", reply=array(integer, integer)))


class Adopted(StrEnum):
    """What became of putting our index at its own place."""

    ADOPTED = "adopted"
    WAITING = "waiting"
    """The SET of an earlier adoption waits still: that has to be finished first."""
    OTHER = "other"
    """What is at ``checkout:index`` is no SET."""


class IndexMoves:
    """The moves of one Redis' index. Every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    def __init__(self, tier: RedisAdmin, index: RedisIndex) -> None:
        """``tier`` is asked for everything; ``index`` is its index."""
        self._tier = tier
        self._index = index

    # To its own place

    def adopt(self) -> Adopted:
        """Put our index at ``checkout:index``, and the SET that is there aside.

        What only the SET names should be in ours before; :meth:`finish` brings what has come since.
        """
        outcome = self._tier.ask(_ADOPT.call_on((INDEX, INDEX_BESIDE, INDEX_ASIDE)))
        self._index.layout()
        return Adopted(outcome.decode())

    def finish(self, now: int) -> Iterator[int]:
        """Do what is left of an adoption, interrupted or not; yields how many new entries ours got, page by page."""
        layout = self._index.layout()
        self._index.absorb()
        looked_at = 1 if INDEX_ASIDE in layout.others else 0
        while looked_at:
            looked_at, new = self._tier.ask(_TAKE_OVER.call_on((layout.key, INDEX_ASIDE), PAGE, now))
            yield int(new)
        self._index.layout()

    # Beside a SET

    def is_in_the_way(self) -> bool:
        """Whether our index lies at ``checkout:index``, as far as is known, so that an older program's SADD fails."""
        return self._tier.index_place.known().place is Place.OWN

    def make_room(self) -> Iterator[int]:
        """Begin a SET of our ids at ``checkout:index`` for an older program, ours beside it.

        The first step is the move itself; from then on the older program's SADD, SREM and SMEMBERS work. Each further
        one adds a page of ids. Yields how many were added. Where such a SET is there already, it is filled.
        """
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
        """Add ids whose sessions are there: an older program has taken the others out itself."""
        ttls = self._tier.remaining(checkout_ids)
        return self._index.fill_set([name for name, ttl in zip(checkout_ids, ttls, strict=True) if ttl != -2])

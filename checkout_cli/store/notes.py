"""Notes that are written down lazily, so that neither a read nor a write pays for them. Nothing here raises.

Losing a note costs one more publish, or an early end where Redis is lost too.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from itertools import islice
from typing import TypeVar

from checkout_cli.errors import CheckoutError, DatabaseUnavailable, NotStorable
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.records import Epoch

KEPT_NOTES = 500
"""Notes that are kept before they are written down without waiting for the next look."""
MOST_NOTES = 100_000
"""Notes of each kind that are kept while the database is unavailable; the oldest are dropped."""
KNOWN_SESSIONS = 20_000
"""Sessions of which a process remembers how far the database's expiry is."""

_log = logging.getLogger("checkout_cli.store")

T = TypeVar("T")


class Notes:
    """One store's notes. Thread-safe. An extension of less than ``touch_after`` milliseconds is not noted."""

    def __init__(self, database: DatabaseTier, *, touch_after: int) -> None:
        self._database = database
        self._touch_after = touch_after
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._published: dict[str, tuple[int, Epoch | None]] = {}
        self._touched: dict[str, int] = {}
        self._proofs: dict[str, str] = {}
        self._refilled = 0
        self._is_loss_told = False
        self._known_expiry: OrderedDict[str, int] = OrderedDict()

    def published(self, checkout_id: str, version: int, epoch: Epoch | None) -> None:
        """Redis, with the primary of ``epoch`` where that can change, has this version now, or a newer one."""
        with self._lock:
            latest, _ = self._published.get(checkout_id, (0, None))
            self._published[checkout_id] = (max(version, latest), epoch)

    def forget_published(self, epochs: set[Epoch | None]) -> None:
        """These primaries were replaced: their successors may lack what they have."""
        with self._lock:
            self._published = {name: note for name, note in self._published.items() if note[1] not in epochs}

    def proof(self, checkout_id: str, note: str) -> None:
        """Proof for a deletion, written down at once: its reader comes soon."""
        with self._lock:
            self._proofs[checkout_id] = note
        self.write_down()

    def expiry(self, checkout_id: str, expires_at: int, *, at_once: bool = False) -> None:
        """A read extended a session until then (ms); ``at_once`` where Redis knows nothing of it."""
        if expires_at - self._known_expiry.get(checkout_id, 0) <= self._touch_after:
            return  # nearly always, and so without the lock
        with self._lock:
            self._know(checkout_id, expires_at)
            self._touched[checkout_id] = expires_at
        if at_once:
            self.write_down()

    def known_expiry(self, checkout_id: str, expires_at: int) -> None:
        """The database has this expiry (ms) already."""
        with self._lock:
            self._know(checkout_id, expires_at)

    def _know(self, checkout_id: str, expires_at: int) -> None:
        """Remember; the ones that were learnt first are forgotten."""
        known = self._known_expiry
        known.pop(checkout_id, None)
        known[checkout_id] = expires_at
        if len(known) > KNOWN_SESSIONS:
            known.popitem(last=False)

    def refilled(self) -> None:
        """A missing key is filled from its row: an external writer may have deleted it."""
        with self._lock:
            self._refilled += 1

    def write_down_if_full(self) -> None:
        """Write the notes down if there are too many."""
        if len(self._published) + len(self._touched) >= KEPT_NOTES:
            self.write_down()

    def write_down(self) -> None:
        """Write the notes to the database now."""
        with self._writing:
            with self._lock:
                published, touched, proofs = self._published, self._touched, self._proofs
                self._published, self._touched, self._proofs = {}, {}, {}
                refilled, self._refilled = self._refilled, 0
            if not (published or touched or proofs or refilled):
                return
            try:
                for epoch in {epoch for _, epoch in published.values()}:
                    versions = {name: version for name, (version, noted_for) in published.items() if noted_for == epoch}
                    self._database.note_published(versions, epoch)
                self._database.touch(touched)
                self._database.note_proofs(proofs)
                if refilled:
                    self._database.note_refilled(refilled)
                self._is_loss_told = False
            except NotStorable as error:
                self._lost(error)
            except DatabaseUnavailable as error:
                _log.debug("notes are kept: %s", error)
                with self._lock:
                    self._published = _kept(published | self._published)
                    self._touched = _kept(touched | self._touched)
                    self._proofs = _kept(proofs | self._proofs)
                    self._refilled += refilled
            except CheckoutError as error:  # denied, say: waiting does not help, and no read fails for a note
                self._lost(error)

    def _lost(self, error: CheckoutError) -> None:
        if not self._is_loss_told:
            _log.warning("notes cannot be written down, and are lost: %s; %s", error, error.hint)
        self._is_loss_told = True


def _kept(notes: dict[str, T]) -> dict[str, T]:
    """The newest notes; in a long outage there may be any number."""
    return dict(islice(notes.items(), max(0, len(notes) - MOST_NOTES), None))

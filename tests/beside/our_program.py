"""Our side, as a process of a shop that uses the library: ``python -m tests.beside.our_program``."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Mapping
from typing import Any

from checkout_cli import Acknowledgement, CheckoutError, CheckoutStore, Durability, Settings
from checkout_cli.errors import SessionNotFound
from tests.beside.lines import serve
from tests.older_program import PAUSE

PATIENCE = 20.0
"""Seconds after which a server that is back should have been noticed."""


class OurProgram:
    """One process of ours, with the five calls of the store. Its own errors are answers."""

    def __init__(self, store: CheckoutStore, *, name: str = "we") -> None:
        """``name`` begins what it writes while both sides are at work."""
        self._store = store
        self._name = name
        self._probe = ""

    def get(self, checkout_id: str) -> dict[str, Any] | None:
        """A session's fields; ``None`` where there is none."""
        try:
            return self._store.get(checkout_id).fields
        except SessionNotFound:
            return None

    def create(self, checkout_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return _told(self._store.create(fields, checkout_id=checkout_id))

    def update(self, checkout_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        return _told(self._store.update(checkout_id, changes))

    def pay(self, checkout_id: str, order_id: str) -> dict[str, Any]:
        return _told(self._store.set_payment_status(checkout_id, "paid", order_id=order_id))

    def delete(self, checkout_id: str) -> None:
        self._store.delete(checkout_id)

    def settle(self) -> bool:
        """Go on once both servers are in use, as far as this process knows; false where that takes too long.

        After a fault, a process tries again only now and then; what it does until then is another story.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._has_both():
                return True
            time.sleep(0.05)
        return False

    def _has_both(self) -> bool:
        """Whether a write to a session of this process' own comes out as it does in quiet."""
        wanted = Durability(self._store.settings.durability)
        try:
            if not self._probe:
                self._probe = self._store.create({}, checkout_id=f"probe-{uuid.uuid4()}").session.checkout_id
            done = self._store.update(self._probe, {"notes": self._name})
        except CheckoutError:
            return False
        return done.published and done.durability is wanted

    def work(
        self, sessions: Mapping[str, str], seconds: float, seed: int, *, deletions: float = 0.0
    ) -> list[dict[str, Any]]:
        """Read and change sessions at random until the time is up; what was done, call by call, as the other's."""
        chance = random.Random(seed)
        deeds: list[dict[str, Any]] = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            checkout_id, field = chance.choice(list(sessions.items()))
            number = len(deeds)
            if field.startswith("-") and chance.random() < deletions:
                deeds.append(self._deed("delete", checkout_id, "", ""))
            elif chance.random() < 0.3:
                deeds.append(self._deed("get", checkout_id, "", ""))
            else:
                deeds.append(self._deed("write", checkout_id, field.removeprefix("-"), f"{self._name} {number}"))
            time.sleep(chance.random() * PAUSE)
        return deeds

    def _deed(self, kind: str, checkout_id: str, field: str, value: str) -> dict[str, Any]:
        deed: dict[str, Any] = {"kind": kind, "id": checkout_id, "field": field, "value": value, "seen": None}

        def change(present: Mapping[str, Any]) -> dict[str, Any]:
            deed["seen"] = present.get(field)
            return {field: value}

        try:
            if kind == "write":
                deed["durability"] = str(self._store.update(checkout_id, change).durability)
            elif kind == "delete":
                self._store.delete(checkout_id)
            else:
                self._store.get(checkout_id)
        except CheckoutError as error:
            return {**deed, "at": time.monotonic(), "acked": False, "error": type(error).__name__}
        return {**deed, "at": time.monotonic(), "acked": True}


def _told(done: Acknowledgement) -> dict[str, Any]:
    return {"durability": str(done.durability), "published": done.published, "version": done.session.version}


if __name__ == "__main__":
    with CheckoutStore.open(Settings.load()) as store:
        serve(OurProgram(store, name=os.environ["PARTY"]), failures=(CheckoutError,))

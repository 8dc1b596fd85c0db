"""What counting and tracking cost a write: they go along with its publish, so they add no round trip.

``python -m tests.benchmarks.bench_bookkeeping``
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from checkout_cli.store.checkout_store import CheckoutStore
from tests.benchmarks.harness import Place, Result, in_turn, kilobyte_session, place, show

WRITES = 3_000
SESSIONS = 300
BAR = 1.10


@contextlib.contextmanager
def without_bookkeeping(where: Place) -> Iterator[CheckoutStore]:
    """A store on the same servers that neither counts nor tracks."""
    settings = replace(where.settings, enable_statistics=False, enable_user_sessions=False)
    with CheckoutStore.open(settings) as store:
        yield store


def shopper(fields: dict[str, Any], number: int) -> dict[str, Any]:
    """The session of one of a thousand users, so that the users' hashes are found and made in turn."""
    return fields | {"userId": f"user-{number % 1000}"}


def bench_create() -> Result:
    """A creation, counted and tracked, against one that is neither."""
    with place() as where, without_bookkeeping(where) as off:
        fields = kilobyte_session()
        with_it, without_it = in_turn(
            WRITES,
            lambda number: where.store.create(shopper(fields, number)),
            lambda number: off.create(shopper(fields, number)),
        )
        return Result("create, counted and tracked / neither", with_it, without_it, bar=BAR)


def bench_update() -> Result:
    """An update of any field, which is counted and not tracked."""
    with place() as where, without_bookkeeping(where) as off:
        fields = kilobyte_session()
        ids = [where.store.create(shopper(fields, number)).session.checkout_id for number in range(SESSIONS)]
        with_it, without_it = in_turn(
            WRITES,
            lambda number: where.store.update(ids[number % SESSIONS], {"notes": f"ring {number} times"}),
            lambda number: off.update(ids[(number + SESSIONS // 2) % SESSIONS], {"notes": f"ring {number} times"}),
        )
        return Result("update, counted / not", with_it, without_it, bar=BAR)


def bench_failure() -> Result:
    """The dearest update: a payment that fails, counted twice and tracked, after one that was tried again."""
    with place() as where, without_bookkeeping(where) as off:
        fields = kilobyte_session()
        ids = [where.store.create(shopper(fields, number)).session.checkout_id for number in range(SESSIONS)]
        theirs = [off.create(shopper(fields, number)).session.checkout_id for number in range(SESSIONS)]

        def pay(store: CheckoutStore, chosen: list[str], number: int) -> None:
            status = "failed" if number // SESSIONS % 2 == 0 else "pending"
            store.set_payment_status(chosen[number % SESSIONS], status)

        with_it, without_it = in_turn(
            WRITES, lambda number: pay(where.store, ids, number), lambda number: pay(off, theirs, number)
        )
        return Result(
            "payment that fails or is tried again, counted and tracked / neither", with_it, without_it, bar=BAR
        )


def main() -> None:
    """Run them all; each pair in turn, within one run."""
    random.seed(1)
    show("Bookkeeping", [bench_create(), bench_update(), bench_failure()])


if __name__ == "__main__":
    main()

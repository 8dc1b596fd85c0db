"""Write-behind: what a dirty session costs its readers and writers, how few statements reach the database, and memory.

``python -m tests.benchmarks.bench_write_behind``
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from checkout_cli.keys import session_key
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.benchmarks.bench_store import bare_client
from tests.benchmarks.harness import Place, Result, in_turn, kilobyte_session, place, show

CALLS = 4_000
SESSIONS = 300
NEVER = 60.0
"""Seconds: no flush, and no look, while one call is measured."""
SHOPPERS = 50
STEPS = 7
"""Of one shopper: a creation, four changes with reads between them, the payment, and a last look."""
MANY = 200_000
"""Sessions after which a process' memory is looked at."""
MOST_GROWTH = 30.0
"""MB."""


@contextmanager
def both_modes() -> Iterator[tuple[Place, Place]]:
    """A place in write-behind mode whose flusher rests, and one in database mode."""
    with place(durability="redis", flush=NEVER, trust=NEVER) as behind, place(trust=NEVER) as database:
        yield behind, database


def bench_calls() -> list[Result]:
    """Reads of dirty and clean sessions, and writes from a held copy, from what is read, and in database mode."""
    with both_modes() as (behind, other), bare_client(behind) as client:
        fields = kilobyte_session()
        dirty = [behind.store.create(fields).session.checkout_id for _ in range(SESSIONS)]
        clean = [behind.store.create(fields, require=Durability.DATABASE).session.checkout_id for _ in range(SESSIONS)]
        plain = [other.store.create(fields).session.checkout_id for _ in range(SESSIONS)]
        keys = [session_key(checkout_id) for checkout_id in clean]
        raw = client.get(keys[0])
        assert behind.store.get(dirty[0]).dirty
        read = behind.store.get(clean[0])
        assert (read.tier, read.dirty) == (TierName.REDIS, 0), "the reads would not be trusted ones"

        def from_what_is_read(number: int) -> None:
            behind.store.held.drop(dirty[number % SESSIONS])
            behind.store.update(dirty[number % SESSIONS], {"notes": f"ring {number} times"})

        def by_hand(number: int) -> None:
            client.getex(keys[number % SESSIONS], px=1_800_000)
            client.set("plain", raw, px=1_800_000)

        def bare(number: int) -> None:
            client.getex(keys[number % SESSIONS], px=1_800_000)

        # Each read follows the same call: whoever follows one of its own kind finds its code in the caches.
        get_dirty, getex, get_clean, again = in_turn(
            CALLS,
            lambda number: behind.store.get(dirty[number % SESSIONS]),
            bare,
            lambda number: behind.store.get(clean[number % SESSIONS]),
            bare,
        )
        held, read_first, in_database, hand = in_turn(
            CALLS,
            lambda number: behind.store.update(dirty[number % SESSIONS], {"notes": f"ring {number}"}),
            from_what_is_read,
            lambda number: other.store.update(plain[number % SESSIONS], {"notes": f"ring {number}"}),
            by_hand,
        )
        return [
            Result("get of a dirty session / of a clean one", get_dirty, get_clean, bar=1.1),
            Result("get, trusted / bare getex", get_clean, min(getex, again), bar=1.1),
            Result("update, write-behind / database", read_first, in_database, bar=0.3),
            Result("update, write-behind / getex + set", read_first, hand, bar=1.6),
            Result("update from a held copy / getex + set", held, hand, bar=1.0),
        ]


def bench_first_update() -> Result:
    """The first change of a clean session, read just before, against the same in database mode."""
    with both_modes() as (behind, other):
        fields, times = kilobyte_session(), []
        stores = (behind.store, other.store)
        for _ in range(1_000):
            pair = []
            for store in stores:
                checkout_id = store.create(fields, require=Durability.DATABASE).session.checkout_id
                store.get(checkout_id)
                started = time.perf_counter()
                store.update(checkout_id, {"notes": "ring"})
                pair.append(time.perf_counter() - started)
            times.append(pair)
        ours, theirs = (statistics.median(some) for some in zip(*times, strict=True))
        return Result("first update, write-behind / database", ours, theirs, bar=0.3)


def shopper(store: CheckoutStore, fields: dict[str, object]) -> None:
    """One checkout."""
    checkout_id = store.create(fields).session.checkout_id
    for step in range(STEPS - 3):
        store.update(checkout_id, {"notes": f"step {step}"})
        store.get(checkout_id)
    store.set_payment_status(checkout_id, "paid", order_id=checkout_id)
    store.get(checkout_id)


def bench_mixed_load() -> list[Result]:
    """Statements for each step of shoppers at the same time, and how long their steps take in each mode."""
    figures = {}
    for mode in ("redis", "database"):
        with place(durability=mode) as where:
            sent, fields = 0, kilobyte_session()

            def note(*_: object) -> None:
                nonlocal sent
                sent += 1

            event.listen(where.store.database._engine, "before_cursor_execute", note)
            started = time.perf_counter()
            for _ in range(4):
                threads = [
                    threading.Thread(target=lambda: [shopper(where.store, fields) for _ in range(5)])  # noqa: B023
                    for _ in range(SHOPPERS)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            took = time.perf_counter() - started
            where.store.behind.turn()
            steps = 4 * SHOPPERS * 5 * STEPS
            figures[mode] = (took / steps, sent / steps)
    return [
        Result("statements for a step of the mixed load (s stands for one)", figures["redis"][1], 1.0, bar=0.10),
        Result(
            f"a step of {SHOPPERS} shoppers, write-behind / database, on SQLite",
            *(figures[mode][0] for mode in ("redis", "database")),
        ),
    ]


def resident() -> float:
    """This process' memory, in MB."""
    with open("/proc/self/statm") as numbers:  # noqa: PTH123
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def bench_memory() -> list[Result]:
    """What a shop's process has grown by after so many sessions, and in the second half of them alone."""
    with place(durability="redis") as where:
        fields = kilobyte_session()
        for _ in range(2_000):  # connections, caches of statements, and all that is made once
            shopper_of_two(where.store, fields)
        wait_for_flusher(where.store)
        begun = resident()
        for _ in range(MANY // 2):
            shopper_of_two(where.store, fields)
        half = resident()
        for _ in range(MANY // 2):
            shopper_of_two(where.store, fields)
        wait_for_flusher(where.store)
        whole = resident()
        return [
            Result(f"memory after {MANY:,} sessions (s: MB) / 30 MB", whole - begun, MOST_GROWTH, bar=1.0),
            Result("of it in the second half", max(whole - half, 0.1), MOST_GROWTH),
        ]


def shopper_of_two(store: CheckoutStore, fields: dict[str, object]) -> None:
    """A session that is created, changed and read."""
    checkout_id = store.create(fields).session.checkout_id
    store.update(checkout_id, {"notes": "ring"})
    store.get(checkout_id)


def wait_for_flusher(store: CheckoutStore) -> None:
    """Until nothing is dirty any more."""
    while len(store.own):
        store.behind.turn()


def main() -> None:
    """Measure, and print the table."""
    show("Write-behind: medians", [*bench_calls(), bench_first_update()])
    show("Write-behind: the database's part", bench_mixed_load())
    show("Write-behind: memory", bench_memory())


if __name__ == "__main__":
    main()

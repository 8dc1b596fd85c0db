"""Shoppers: threads that go through one checkout after the other, and note the time and the tier of each step.

They live in processes of their own, several to a process, since the threads of one process share one core.
"""

from __future__ import annotations

import random
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from checkout_cli.commands.bench.stage import Checkout, checkouts
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError
from checkout_cli.session import PaymentStatus, TierName
from checkout_cli.store.checkout_store import CheckoutStore

READ = "read"
VISIT = (
    *("create", READ, READ, "address", READ, READ, "slot", READ, READ),
    *("pay", READ, "paid", READ),
)
"""The steps of one checkout: the shop reads the session at each page, and changes it four times."""
WRITES_OF_A_VISIT = sum(step != READ for step in VISIT)
SLICES = 40
"""The parts that the time is cut into, for a chart over time."""


@dataclass(frozen=True)
class Order:
    """The order to a process: so many shoppers for so many seconds."""

    settings: Settings
    prefix: str
    shoppers: int
    seconds: float
    seed: int


@dataclass
class Tally:
    """The outcome of the steps; times in seconds. Tallies of threads and processes are added up.

    ``parts`` count, for each part of the time, the steps that each tier served, and under ``None`` the failed ones.
    ``promises`` are the versions acknowledged last, ``busy`` is the processor's time.
    """

    times: array[float] = field(default_factory=lambda: array("d"))
    parts: list[Counter[TierName | None]] = field(default_factory=lambda: [Counter() for _ in range(SLICES)])
    reasons: Counter[str] = field(default_factory=Counter)
    promises: dict[str, int] = field(default_factory=dict)
    queries: int = 0
    busy: float = 0.0
    took: float = 0.0

    def __iadd__(self, other: Tally) -> Tally:
        self.times.extend(other.times)
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            mine.update(theirs)
        self.reasons += other.reasons
        self.promises |= other.promises
        self.queries += other.queries
        self.busy += other.busy
        self.took = max(self.took, other.took)
        return self


class Shopper:
    """One shopper after the other, as fast as the store serves them."""

    def __init__(self, store: CheckoutStore, order: Order, number: int, stopped: Event) -> None:
        self._store = store
        self._chance = random.Random(f"{order.seed}:{number}")  # noqa: S311  (no secret)
        self._new = checkouts(order.prefix, self._chance, store.clock.wall())
        self._seconds = order.seconds
        self._stopped = stopped
        self.tally = Tally()

    def shop(self) -> None:
        started = time.perf_counter()
        steps = self._steps()
        while (begun := time.perf_counter()) - started < self._seconds and not self._stopped.is_set():
            try:
                tier: TierName | None = next(steps)
            except CheckoutError as error:
                tier = None
                self.tally.reasons[type(error).__name__] += 1
                steps = self._steps()  # this shopper has given up, and the next one comes
            ended = time.perf_counter()
            part = int((ended - started) / self._seconds * SLICES)
            self.tally.parts[min(part, SLICES - 1)][tier] += 1
            self.tally.times.append(ended - begun)

    def _steps(self) -> Iterator[TierName]:
        while True:
            checkout = next(self._new)
            for step in VISIT:
                if step == READ:
                    yield self._store.get(checkout.checkout_id).tier
                else:
                    yield self._write(checkout, step)

    def _write(self, checkout: Checkout, step: str) -> TierName:
        store, checkout_id = self._store, checkout.checkout_id
        if step == "create":
            done = store.create(checkout.fields, checkout_id=checkout_id)
        elif step == "pay":
            done = store.set_payment_status(checkout_id, PaymentStatus.PROCESSING)
        elif step == "paid":
            order = f"ORD-{self._chance.randrange(10_000, 99_999)}"
            done = store.set_payment_status(checkout_id, PaymentStatus.PAID, order_id=order)
        else:
            done = store.update(checkout_id, {"step": step, "distance": round(self._chance.uniform(0.4, 12), 1)})
        self.tally.promises[checkout_id] = done.session.version
        return done.session.tier


def serve(connection: Connection, stopped: Event) -> None:
    """The main function of a process of shoppers: prepare for each :class:`Order`, wait for the start, and report."""
    try:
        while True:
            order: Order = connection.recv()
            with CheckoutStore.open(order.settings) as store:
                connection.send(None)
                connection.recv()
                found = _shop(store, order, stopped)
            connection.send(found)
    except (EOFError, OSError):  # the parent is gone, or needs no more
        return


def _shop(store: CheckoutStore, order: Order, stopped: Event) -> Tally:
    shoppers = [Shopper(store, order, number, stopped) for number in range(order.shoppers)]
    whole = Tally()
    with store.database.counting() as queries:
        before, started = time.process_time(), time.perf_counter()
        threads = [threading.Thread(target=shopper.shop) for shopper in shoppers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whole.busy, whole.took = time.process_time() - before, time.perf_counter() - started
        whole.queries = queries()
    for shopper in shoppers:
        whole += shopper.tally
    return whole

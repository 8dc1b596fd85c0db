"""Operations and faults at random, over several processes: whatever the order, no promise is broken.

``CHECKOUT_STATEFUL_EXAMPLES=300`` runs more, and other, sequences than the default run, which are always the same.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from checkout_cli.keys import session_key
from checkout_cli.operations.embedded import HOST
from checkout_cli.session import PaymentStatus, decode
from checkout_cli.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.faults.conftest import proxied
from tests.faults.proxy import Proxy
from tests.servers import ValkeyServer
from tests.store import worker as workers
from tests.store.history import Call, History, Kept
from tests.store.support import ManualClock, make_store
from tests.store.worker import HITCHES, Order, Worker

EXAMPLES = int(os.environ.get("CHECKOUT_STATEFUL_EXAMPLES", "0"))
PROCESSES = 3
SESSIONS = 2
DRAINS = 50
FOREIGN = {
    "an old copy": None,
    "another program's session": b'{"checkoutId":"x","subtotal":1,"foreign":true}',
    "a higher version": b'{"version":999,"stamp":"someone:00000000","subtotal":1}',
    "rubbish": b"\x00\xff not a session",
}


@dataclass
class Place:
    """The servers and processes that all sequences share."""

    server: ValkeyServer
    database_url: str
    clock: ManualClock
    workers: list[Worker]
    redis_proxies: list[Proxy] = field(default_factory=list)
    database_proxies: list[Proxy] = field(default_factory=list)
    database_urls: list[str] = field(default_factory=list)
    sequences: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def settings(self, redis_port: int, database_url: str) -> Settings:
        return Settings(
            redis_host=HOST,
            redis_port=redis_port,
            database_url=database_url,
            timeout=0.15,
            database_timeout=0.5,
        )

    def heal(self) -> None:
        """End every fault."""
        self.server.resume()
        self.server.start()
        for proxy in (*self.redis_proxies, *self.database_proxies):
            proxy.restore()
            proxy.cut()

    @property
    def snapshot(self) -> Path:
        return self.server.directory / "dump.rdb"


@pytest.fixture
def place(tmp_path: Path, postgres_url: str) -> Iterator[Place]:
    with ExitStack() as stack:
        server = stack.enter_context(ValkeyServer(tmp_path / "server"))
        clock = ManualClock()
        made = Place(server, postgres_url, clock, [Worker(clock, number) for number in range(PROCESSES)])
        for worker in made.workers:
            worker.start()
            stack.callback(worker.stop)
            made.redis_proxies.append(stack.enter_context(Proxy((HOST, server.port))))
            through = stack.enter_context(proxied(postgres_url))
            made.database_proxies.append(through.proxy)
            made.database_urls.append(through.proxied_url)
        with make_store(made.settings(server.port, postgres_url), clock) as store:
            store.database.create_schema()
        yield made
        made.heal()


class Machine(RuleBasedStateMachine):
    """One sequence of operations and faults."""

    place: Place

    def __init__(self) -> None:
        super().__init__()
        place = self.place
        self.clock = place.clock
        self.server = place.server
        self.prefix = f"sequence-{next(place.sequences)}"
        self.marks = itertools.count(1)
        self.running, self.frozen = True, False
        self.old: dict[str, bytes] = {}
        self.story: list[str] = []
        place.heal()
        place.snapshot.unlink(missing_ok=True)
        self.server.flush()
        self.clock.advance(60)
        for worker, redis_proxy, url in zip(place.workers, place.redis_proxies, place.database_urls, strict=True):
            worker.open(place.settings(redis_proxy.port, url))
        self.history = History(trust=place.workers[0].settings.trust if place.workers[0].settings else 0)

    # Operations

    sessions = st.integers(0, SESSIONS - 1)
    processes = st.integers(0, PROCESSES - 1)

    @initialize()
    def a_session(self) -> None:
        self.call(0, Order("create", self.name_of(0), self.mark()))

    @rule(process=processes, session=sessions)
    def read(self, process: int, session: int) -> None:
        self.call(process, Order("get", self.name_of(session)))

    @rule(session=sessions)
    def everybody_reads(self, session: int) -> None:
        for process in range(PROCESSES):
            self.call(process, Order("get", self.name_of(session)))

    @rule(process=processes, session=sessions)
    def look(self, process: int, session: int) -> None:
        self.call(process, Order("peek", self.name_of(session)))

    @rule(process=processes, session=sessions, hitch=st.sampled_from(HITCHES))
    def create(self, process: int, session: int, hitch: str) -> None:
        self.call(process, Order("create", self.name_of(session), self.mark(), hitch=hitch))

    @rule(process=processes, session=sessions, hitch=st.sampled_from(HITCHES))
    def update(self, process: int, session: int, hitch: str) -> None:
        self.call(process, Order("update", self.name_of(session), self.mark(), hitch=hitch))

    @rule(process=processes, session=sessions)
    def update_and_everybody_reads(self, process: int, session: int) -> None:
        self.update(process, session, "")
        self.everybody_reads(session)

    @rule(process=processes, session=sessions, hitch=st.sampled_from(HITCHES[1:3]))
    def read_slowly(self, process: int, session: int, hitch: str) -> None:
        self.call(process, Order("get", self.name_of(session), hitch=hitch))

    @rule(process=processes, session=sessions, status=st.sampled_from(("processing", "failed", "paid")))
    def pay(self, process: int, session: int, status: str) -> None:
        assert status in set(PaymentStatus)
        self.call(process, Order("pay", self.name_of(session), self.mark(), status))

    @rule(process=processes, session=sessions, hitch=st.sampled_from(HITCHES), sure=st.integers(0, 3))
    def delete(self, process: int, session: int, hitch: str, sure: int) -> None:
        if sure == 0:  # now and then only: most of a session's life lies before it
            self.call(process, Order("delete", self.name_of(session), hitch=hitch))

    @rule(process=processes)
    def go_on(self, process: int) -> None:
        if self.place.workers[process].stalled is not None:
            self.take(self.place.workers[process].go_on())

    # Faults

    @rule(process=processes)
    def crash(self, process: int) -> None:
        self.note(f"{self.place.workers[process].name} crashes")
        self.place.workers[process].crash()

    @rule(seconds=st.sampled_from((0.4, 1.1, 3.0, 12.0)))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.note(f"{seconds} s pass")

    @precondition(lambda self: self.reachable)
    @rule(session=sessions)
    def evict(self, session: int) -> None:
        self.loses("an eviction", self.name_of(session))
        self.ask("DEL", session_key(self.name_of(session)))

    @precondition(lambda self: self.reachable)
    @rule()
    def flush(self) -> None:
        self.loses("FLUSHALL")
        self.server.flush()

    @precondition(lambda self: self.reachable)
    @rule(session=sessions)
    def keep_a_snapshot(self, session: int) -> None:
        self.note("a snapshot")
        self.ask("SAVE")
        value = self.ask("GET", session_key(self.name_of(session)))
        if value is not None:
            self.old[self.name_of(session)] = value

    @precondition(lambda self: self.running)
    @rule()
    def redis_dies(self) -> None:
        self.loses("Redis dies")
        self.server.kill()
        self.running = self.frozen = False

    @precondition(lambda self: not self.running)
    @rule(empty=st.booleans())
    def redis_comes_back(self, empty: bool) -> None:
        self.note(f"Redis comes back {'empty' if empty else 'as the snapshot has it'}")
        if empty:
            self.place.snapshot.unlink(missing_ok=True)
        self.server.start()
        self.running = True

    @precondition(lambda self: self.reachable)
    @rule(empty=st.booleans())
    def redis_restarts(self, empty: bool) -> None:
        self.redis_dies()
        self.redis_comes_back(empty)

    @precondition(lambda self: self.reachable)
    @rule()
    def redis_freezes(self) -> None:
        self.note("Redis freezes")
        self.server.pause()
        self.frozen = True

    @precondition(lambda self: self.frozen)
    @rule()
    def redis_thaws(self) -> None:
        self.note("Redis thaws")
        self.server.resume()
        self.frozen = False

    @rule(process=processes)
    def redis_out_of_reach(self, process: int) -> None:
        self.note(f"process {process} cannot reach Redis")
        self.place.redis_proxies[process].refuse()

    @rule(process=processes)
    def database_out_of_reach(self, process: int) -> None:
        self.note(f"process {process} cannot reach the database")
        self.place.database_proxies[process].refuse()

    @rule()
    def the_database_goes_away(self) -> None:
        for process in range(PROCESSES):
            self.database_out_of_reach(process)

    @rule()
    def the_networks_are_back(self) -> None:
        self.note("the networks are back")
        for proxy in (*self.place.redis_proxies, *self.place.database_proxies):
            proxy.restore()

    @precondition(lambda self: self.reachable)
    @rule(session=sessions, what=st.sampled_from(sorted(FOREIGN)))
    def a_foreign_program_writes(self, session: int, what: str) -> None:
        name = self.name_of(session)
        value = FOREIGN[what] or self.old.get(name)
        if value is not None and (FOREIGN[what] is None or not self.is_new(name)):
            self.loses(f"a foreign program writes {what}", name)
            self.ask("SET", session_key(name), value)

    # How it is done

    @property
    def reachable(self) -> bool:
        return self.running and not self.frozen

    def is_new(self, name: str) -> bool:
        return not self.history.calls_of(name)

    def name_of(self, session: int) -> str:
        return f"{self.prefix}-{session}"

    def mark(self) -> str:
        return f"mark{next(self.marks)}"

    def ask(self, *command: Any) -> Any:
        with self.server.client(socket_timeout=5) as client:
            return client.execute_command(*command)

    def note(self, text: str) -> None:
        self.story.append(text)

    def loses(self, text: str, name: str | None = None) -> None:
        self.note(f"{text} {name or ''}")
        self.history.lost_by_redis(time.monotonic(), name)

    def call(self, process: int, order: Order) -> None:
        worker = self.place.workers[process]
        if worker.stalled is not None:
            self.take(worker.go_on())
        if order.kind == "delete":
            self.history.attempted_deletion(order.checkout_id, time.monotonic())
        call = worker.call(order)
        if call is None:
            self.note(f"{worker.name} {order.kind} {order.checkout_id} {order.mark}: {order.hitch}")
        else:
            self.take(call)

    def take(self, call: Call) -> None:
        answer = call.error or f"v{call.version} {sorted(call.marks)} {call.tier} {call.durability} {call.verified}"
        self.note(f"{call.process} {call.kind} {call.checkout_id} {call.mark}: {answer}")
        verdict = self.history.add(call)
        assert verdict is None, self.report([verdict])

    def report(self, verdicts: list[str]) -> str:
        return "\n  ".join(["; ".join(verdicts), *self.story])

    # The reckoning

    def teardown(self) -> None:
        """Heal, let everybody go on, bring everything to the database, and compare."""
        place = self.place
        place.heal()
        self.clock.advance(60)
        self.note("everything is healed")
        for worker in place.workers:
            if worker.stalled is not None:
                self.take(worker.go_on())
        self.clock.advance(60)
        for process, session in itertools.product(range(PROCESSES), range(SESSIONS)):
            self.call(process, Order("get", self.name_of(session)))
        with make_store(place.settings(self.server.port, place.database_url), self.clock) as auditor:
            for _ in range(DRAINS):
                if not auditor.redis_alone.count():
                    break
                auditor.redis_alone.drain_some(100)
            names = [self.name_of(session) for session in range(SESSIONS)]
            verdicts = self.history.reckon({name: kept(auditor, name) for name in names})
        assert not verdicts, self.report(verdicts)
        for process, session in itertools.product(range(PROCESSES), range(SESSIONS)):
            self.call(process, Order("get", self.name_of(session)))


def kept(auditor: CheckoutStore, name: str) -> Kept:
    """What the database has of a session in the end."""
    row = auditor.database.read(name)
    conflicts = [conflict for conflict in auditor.drain_log.conflicts(1000) if conflict.checkout_id == name]
    lost = tuple(_content(conflict.drained_body) for conflict in conflicts)
    if row is None or row.body is None:
        return Kept(None if row is None else row.version, None, "", lost)
    return Kept(row.version, *_content(row.body), lost)


def _content(body: bytes) -> tuple[frozenset[str], str]:
    fields = decode(body)
    return frozenset(name for name in fields if name.startswith("mark")), str(fields.get("paymentStatus"))


def test_whatever_happens_in_whichever_order_no_promise_is_broken(place: Place) -> None:
    assert workers.PATIENCE > 1
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        type("MachineHere", (Machine,), {"place": place}),
        settings=settings(
            max_examples=EXAMPLES or 15,
            stateful_step_count=60,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate] + ([Phase.shrink] if EXAMPLES else []),
            suppress_health_check=list(HealthCheck),
        ),
    )

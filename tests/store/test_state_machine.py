"""Operations and faults at random, over several processes: whatever the order, no promise is broken.

``CHECKOUT_STATEFUL_EXAMPLES=300`` runs more, and other, sequences than the default run, which are always the same.
``CHECKOUT_STATEFUL_WITHOUT="version check"`` switches a mechanism off in every process, to see that it fails.
"""

from __future__ import annotations

import itertools
import json
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

from checkout_cli.config.settings import Settings
from checkout_cli.keys import session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import PaymentStatus, decode
from checkout_cli.store.checkout_store import CheckoutStore
from tests.store.history import Call, History, Kept
from tests.store.worker import HITCHES, Order, Worker
from tests.support.proxy import Proxy, proxied
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, make_store, make_tables

EXAMPLES = int(os.environ.get("CHECKOUT_STATEFUL_EXAMPLES", "0"))
WITHOUT = os.environ.get("CHECKOUT_STATEFUL_WITHOUT", "")
PROCESSES = 3
SESSIONS = 2
FLUSHES = 50
EXTERNAL = {
    "what it has just read": None,
    "what it read before": None,
    "a session of its own": b'{"checkoutId":"x","subtotal":1,"external":true}',
    "a higher version": b'{"_store":"999 - someone:else 0123456789abcdef","subtotal":1}',
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
        made = Place(server, postgres_url, clock, [Worker(clock, number, WITHOUT) for number in range(PROCESSES)])
        for worker in made.workers:
            worker.start()
            stack.callback(worker.stop)
            made.redis_proxies.append(stack.enter_context(Proxy((HOST, server.port))))
            through = stack.enter_context(proxied(postgres_url))
            made.database_proxies.append(through.proxy)
            made.database_urls.append(through.proxied_url)
        with make_store(made.settings(server.port, postgres_url), clock) as store:
            make_tables(store.database)
        yield made
        made.heal()


SELDOM = ("peek", "create", "processing", "failed", "paid", "delete")
KINDS = ("get",) * 8 + ("update",) * 6 + ("everybody gets",) * 3 + SELDOM


@dataclass(frozen=True)
class Step:
    """One call of one process, some time after the one before it."""

    process: int
    session: int
    kind: str
    hitch: str
    seconds: float


_processes, _sessions = st.integers(0, PROCESSES - 1), st.integers(0, SESSIONS - 1)
_steps = st.lists(
    st.builds(
        Step,
        process=_processes,
        session=_sessions,
        kind=st.sampled_from(KINDS),
        hitch=st.sampled_from(("", "", "", "", *HITCHES)),
        seconds=st.sampled_from((0.0, 0.0, 0.0, 0.0, 0.4, 1.1, 6.0)),
    ),
    min_size=2,
    max_size=6,
)


class Machine(RuleBasedStateMachine):
    """One sequence: calls, and faults that begin, last for some calls or longer, and end."""

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
        self.created: set[str] = set()
        self.story: list[str] = []
        place.heal()
        place.snapshot.unlink(missing_ok=True)
        self.server.flush()
        self.clock.advance(60)
        for worker, redis_proxy, url in zip(place.workers, place.redis_proxies, place.database_urls, strict=True):
            worker.open(place.settings(redis_proxy.port, url))
        self.history = History(place.settings(self.server.port, place.database_url).trust)

    @initialize(steps=_steps)
    def begin(self, steps: list[Step]) -> None:
        self.call(0, Order("create", self.name_of(0), self.mark()))
        self.take_steps(steps)

    @rule(steps=_steps)
    def operate(self, steps: list[Step]) -> None:
        self.take_steps(steps)

    @rule(process=_processes, steps=_steps)
    def crash(self, process: int, steps: list[Step]) -> None:
        self.note(f"{self.place.workers[process].name} crashes")
        self.place.workers[process].crash()
        self.take_steps(steps)

    @precondition(lambda self: self.reachable)
    @rule(session=_sessions, steps=_steps)
    def evict(self, session: int, steps: list[Step]) -> None:
        self.loses("an eviction", self.name_of(session))
        self.ask("DEL", session_key(self.name_of(session)))
        self.take_steps(steps)

    @precondition(lambda self: self.reachable)
    @rule(steps=_steps)
    def flush(self, steps: list[Step]) -> None:
        self.loses("FLUSHALL")
        self.server.flush()
        self.take_steps(steps)

    @precondition(lambda self: self.reachable)
    @rule(session=_sessions, steps=_steps)
    def keep_a_snapshot(self, session: int, steps: list[Step]) -> None:
        self.note("a snapshot")
        self.ask("SAVE")
        value = self.ask("GET", session_key(self.name_of(session)))
        if value is not None:
            self.old[self.name_of(session)] = value
        self.take_steps(steps)

    @precondition(lambda self: self.reachable)
    @rule(steps=_steps, empty=st.booleans())
    def redis_dies(self, steps: list[Step], empty: bool) -> None:
        """And comes back, empty or as the last snapshot has it."""
        self.loses("Redis dies")
        self.server.kill()
        self.running = False
        self.take_steps(steps)
        self.redis_comes_back(empty)

    @precondition(lambda self: self.reachable)
    @rule(steps=_steps, empty=st.booleans())
    def redis_restarts(self, steps: list[Step], empty: bool) -> None:
        """So fast that nobody calls it meanwhile."""
        self.redis_dies([], empty)
        self.take_steps(steps)

    def redis_comes_back(self, empty: bool) -> None:
        self.note(f"Redis comes back {'empty' if empty else 'as the snapshot has it'}")
        if empty:
            self.place.snapshot.unlink(missing_ok=True)
        self.server.start()
        self.running = True

    @precondition(lambda self: self.reachable)
    @rule(steps=_steps)
    def redis_freezes(self, steps: list[Step]) -> None:
        """What was sent to it meanwhile arrives when it thaws."""
        self.note("Redis freezes")
        self.server.pause()
        self.frozen = True
        self.take_steps(steps)
        self.note("Redis thaws")
        self.server.resume()
        self.frozen = False

    @rule(process=_processes, steps=_steps, lasts=st.booleans())
    def redis_out_of_reach(self, process: int, steps: list[Step], lasts: bool) -> None:
        self.note(f"process {process} cannot reach Redis")
        self.out_of_reach([self.place.redis_proxies[process]], steps, lasts)

    @rule(process=_processes, steps=_steps, lasts=st.booleans())
    def database_out_of_reach(self, process: int, steps: list[Step], lasts: bool) -> None:
        self.note(f"process {process} cannot reach the database")
        self.out_of_reach([self.place.database_proxies[process]], steps, lasts)

    @rule(steps=_steps, lasts=st.booleans())
    def the_database_goes_away(self, steps: list[Step], lasts: bool) -> None:
        self.note("nobody can reach the database")
        self.out_of_reach(self.place.database_proxies, steps, lasts)

    def out_of_reach(self, proxies: list[Proxy], steps: list[Step], lasts: bool) -> None:
        for proxy in proxies:
            proxy.refuse()
        self.take_steps(steps)
        if not lasts:
            self.networks_are_back()

    @rule(steps=_steps)
    def the_networks_are_back(self, steps: list[Step]) -> None:
        self.networks_are_back()
        self.take_steps(steps)

    def networks_are_back(self) -> None:
        self.note("the networks are back")
        for proxy in (*self.place.redis_proxies, *self.place.database_proxies):
            proxy.restore()

    @precondition(lambda self: self.reachable)
    @rule(session=_sessions, what=st.sampled_from(sorted(EXTERNAL)), steps=_steps)
    def an_external_writer_writes(self, session: int, what: str, steps: list[Step]) -> None:
        name, told = self.name_of(session), f"an external writer writes {what}"
        value = EXTERNAL[what]
        if what == "what it has just read":
            self.note(f"{told} {name}")  # so that it overwrites nothing
            value = read_and_written(self.ask("GET", session_key(name)))
        else:
            self.loses(told, name)
            value = value or read_and_written(self.old.get(name))
        if value is not None:
            self.ask("SET", session_key(name), value, "PX", 1_800_000)
        self.take_steps(steps)

    # How it is done

    @property
    def reachable(self) -> bool:
        return self.running and not self.frozen

    def take_steps(self, steps: list[Step]) -> None:
        for step in steps:
            self.clock.advance(step.seconds)
            self.take_step(step)

    def take_step(self, step: Step) -> None:
        name = self.name_of(step.session)
        if step.kind == "everybody gets":
            for process in range(PROCESSES):
                self.call(process, Order("get", name))
        elif step.kind in set(PaymentStatus):
            self.call(step.process, Order("pay", name, self.mark(), step.kind, hitch=step.hitch))
        else:
            unmade = step.kind == "update" and name not in self.created
            self.call(step.process, Order("create" if unmade else step.kind, name, self.mark(), hitch=step.hitch))

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
        if order.kind == "create":
            self.created.add(order.checkout_id)
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
        self.everybody_looks()
        self.everybody_looks()
        with make_store(place.settings(self.server.port, place.database_url), self.clock) as auditor:
            for _ in range(FLUSHES):
                if not auditor.flusher.pending.count():
                    break
                auditor.publisher.look_around([])
            names = [self.name_of(session) for session in range(SESSIONS)]
            verdicts = self.history.reckon({name: kept(auditor, name) for name in names})
        assert not verdicts, self.report(verdicts)
        self.everybody_looks()

    def everybody_looks(self) -> None:
        self.clock.advance(60)
        for process, session in itertools.product(range(PROCESSES), range(SESSIONS)):
            self.call(process, Order("get", self.name_of(session)))


def read_and_written(value: bytes | None) -> bytes | None:
    """A session as a program writes it back after it has read it."""
    try:
        return json.dumps({**json.loads(value or b""), "external": True}, separators=(",", ":")).encode()
    except ValueError:
        return None


def kept(auditor: CheckoutStore, name: str) -> Kept:
    """What the database has of a session in the end."""
    row = auditor.database.read(name)
    conflicts = [conflict for conflict in auditor.flush_log.conflicts(1000) if conflict.checkout_id == name]
    lost = tuple(_content(conflict.written) for conflict in conflicts if conflict.fields is not None)
    if row is None or row.body is None:
        return Kept(None if row is None else row.version, None, "", lost)
    return Kept(row.version, *_content(row.body), lost)


def _content(body: bytes) -> tuple[frozenset[str], str]:
    fields = decode(body)
    return frozenset(name for name in fields if name.startswith("mark")), str(fields.get("paymentStatus"))


@pytest.mark.timeout(120 + 30 * EXAMPLES)
def test_whatever_happens_in_whichever_order_no_promise_is_broken(place: Place) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        type("MachineHere", (Machine,), {"place": place}),
        settings=settings(
            max_examples=EXAMPLES or 8,
            stateful_step_count=40,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # the story is the report: to shrink it would take many minutes
            suppress_health_check=list(HealthCheck),
        ),
    )

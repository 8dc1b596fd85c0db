"""The store's promises under random histories: two processes, evictions, restarts, external writers, failed publishes.

The model is what was acknowledged: every write, ours and an external one's, sets a field of its own (a *mark*). It is
checked after every step against what either process reads, and against what the database has.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, RedisUnavailable, SessionDeleted, SessionExists, SessionNotFound
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import STORE_FIELD, Durability, decode
from checkout_cli.store import flusher
from checkout_cli.store.lease import Lease
from checkout_cli.store.protocol import publishing, value
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.redis import connection as redis_connection
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, key_of, make_store, make_tables, save

IDS = ("session-0", "session-1")
PROCESSES = some.integers(0, 1)
CHECKOUTS = some.sampled_from(IDS)
BURIED = "deleted"
"""Stands for a deletion among the marks."""


class Told:
    """What was told about one session."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.owed: set[str] = set()
        "What no verified read may miss."
        self.own: tuple[set[str], set[str]] = (set(), set())
        "What no verified read of a process may miss, because it wrote that itself."
        self.contents: dict[int, frozenset[str]] = {}
        self.remembered: dict[str, Any] = {}
        "What an external writer has read, however long ago."

    @property
    def is_deleted(self) -> bool:
        return BURIED in self.acknowledged

    @property
    def newest(self) -> int:
        return max(self.contents, default=0)


class Promises(RuleBasedStateMachine):
    """One Redis, one database, two processes, and external writers."""

    server: ValkeyServer

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.number = 0
        self.saved = False
        self.model = {name: Told() for name in IDS}
        where = Settings(
            redis_host=HOST,
            redis_port=self.server.port,
            database_url=f"sqlite:///{Path(self.directory.name) / 'checkout.db'}",
            timeout=1.0,
        )
        self.server.flush()
        self.processes = [make_store(where, self.clock) for _ in range(2)]
        make_tables(self.processes[0].database)

    def teardown(self) -> None:
        for store in self.processes:
            store.close()
        self.directory.cleanup()

    # What processes do

    @rule(checkout_id=CHECKOUTS, process=PROCESSES, fails=some.booleans())
    def create(self, checkout_id: str, process: int, fails: bool) -> None:
        told, mark = self.model[checkout_id], self.fresh("ours")
        taken = bool(told.acknowledged) or self.lies_in_redis(checkout_id)
        try:
            with self.failing_publish(process, fails):
                acknowledgement = self.processes[process].create({mark: 1}, checkout_id=checkout_id)
        except (SessionExists, SessionDeleted):
            assert taken
        else:
            assert not told.acknowledged, "an id was used twice"
            self.note(checkout_id, process, mark, acknowledgement)

    @rule(checkout_id=CHECKOUTS, process=PROCESSES, fails=some.booleans())
    def update(self, checkout_id: str, process: int, fails: bool) -> None:
        told, mark = self.model[checkout_id], self.fresh("ours")
        standing = self.standing(checkout_id)
        known = bool(told.acknowledged) or self.lies_in_redis(checkout_id)
        try:
            with self.failing_publish(process, fails):
                acknowledgement = self.processes[process].update(checkout_id, {mark: 1})
        except SessionNotFound:
            assert told.is_deleted or not told.acknowledged, "an acknowledged session is gone"
        except CheckoutError:
            assert not told.acknowledged, "what has a row can be written to"
        else:
            assert known, "a session that nobody created"
            assert not told.is_deleted, "a deleted session was written to"
            assert acknowledgement.session.version > told.newest, "a version was issued twice"
            self.note(checkout_id, process, mark, acknowledgement)
        self.check_standing(checkout_id, process, standing)

    @rule(checkout_id=CHECKOUTS, process=PROCESSES, fails=some.booleans())
    def delete(self, checkout_id: str, process: int, fails: bool) -> None:
        told = self.model[checkout_id]
        try:
            with self.failing_publish(process, fails):
                self.processes[process].delete(checkout_id)
        except SessionNotFound:
            assert told.is_deleted or not told.acknowledged
        else:
            told.acknowledged.add(BURIED)
            told.own[process].add(BURIED)
            if not fails and not self.is_cut_off(process):
                told.owed.add(BURIED)

    @rule(checkout_id=CHECKOUTS, process=PROCESSES)
    def get(self, checkout_id: str, process: int) -> None:
        told, standing = self.model[checkout_id], self.standing(checkout_id)
        try:
            session = self.processes[process].get(checkout_id)
        except SessionNotFound:
            assert told.is_deleted or not told.acknowledged, "an acknowledged session is gone"
        except CheckoutError:
            assert not told.acknowledged, "what has a row can be read"
        else:
            marks = marks_in(session.fields)
            owed = told.owed | told.own[process]
            assert BURIED not in owed, "a deleted session is back"
            assert owed <= marks, "older than a write that it must have"
            if session.version:
                assert told.contents.setdefault(session.version, marks) == marks, "a version with two contents"
        self.check_standing(checkout_id, process, standing)

    # What happens to them

    @rule(seconds=some.sampled_from([0.1, 0.5, 1.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        """After T everybody knows of everything (G3)."""
        self.clock.advance(seconds)
        if seconds >= 1.0:
            for told in self.model.values():
                told.owed |= told.acknowledged

    @rule(checkout_id=CHECKOUTS)
    def evict(self, checkout_id: str) -> None:
        self.ask("DEL", key_of(checkout_id))

    @rule()
    def flush(self) -> None:
        self.ask("FLUSHALL")

    @rule()
    def save(self) -> None:
        save(self.server)
        self.saved = True

    @precondition(lambda self: self.saved)
    @rule()
    def restart_from_snapshot(self) -> None:
        self.server.kill()
        self.server.start()

    # What external writers do

    @rule(checkout_id=CHECKOUTS)
    def external_read(self, checkout_id: str) -> None:
        self.model[checkout_id].remembered = fields_of(self.ask("GET", key_of(checkout_id)))

    @rule(checkout_id=CHECKOUTS, reads_first=some.booleans(), keeps_header=some.booleans())
    def external_write(self, checkout_id: str, reads_first: bool, keeps_header: bool) -> None:
        """On top of what it has read just now, or long ago."""
        if reads_first:
            self.external_read(checkout_id)
        fields = {"checkoutId": checkout_id, **self.model[checkout_id].remembered, self.fresh("theirs"): 1}
        if not keeps_header:
            fields.pop(STORE_FIELD, None)
        self.put(checkout_id, json.dumps(fields, separators=(",", ":")).encode())

    @rule(checkout_id=CHECKOUTS)
    def external_edit(self, checkout_id: str) -> None:
        """As a script does that replaces text, which leaves our header as it is."""
        present = self.ask("GET", key_of(checkout_id))
        if present is not None:
            self.put(
                checkout_id, present.replace(b'"checkoutId"', b'"%b":1,"checkoutId"' % self.fresh("theirs").encode())
            )

    @rule(checkout_id=CHECKOUTS)
    def external_rubbish(self, checkout_id: str) -> None:
        self.put(checkout_id, b"no session")

    # Helpers

    def fresh(self, whose: str) -> str:
        self.number += 1
        return f"{whose}{self.number}"

    def ask(self, *command: Any) -> Any:
        with self.server.client(socket_timeout=5) as client:
            return client.execute_command(*command)

    def put(self, checkout_id: str, raw: bytes) -> None:
        self.ask("SET", key_of(checkout_id), raw, "PX", 1_800_000)

    def lies_in_redis(self, checkout_id: str) -> bool:
        return self.ask("GET", key_of(checkout_id)) is not None

    def is_cut_off(self, process: int) -> bool:
        """After a restart, a process may find Redis unavailable for a while."""
        return self.processes[process].redis.breaker.is_open

    def standing(self, checkout_id: str) -> set[str]:
        """Marks of external writers that one of our processes is about to meet in Redis."""
        return {mark for mark in marks_in(fields_of(self.ask("GET", key_of(checkout_id)))) if "theirs" in mark}

    def check_standing(self, checkout_id: str, process: int, standing: set[str]) -> None:
        """What was met is in the row, or in the conflict log (G6); without a row, it stays where it is."""
        if self.is_cut_off(process):
            return
        row = self.processes[process].database.read(checkout_id)
        if row is None:
            return
        kept = marks_in({} if row.body is None else decode(row.body))
        for conflict in self.processes[process].flush_log.conflicts(1000):
            if conflict.checkout_id == checkout_id:
                kept |= marks_in(conflict.fields or {})
        if not self.model[checkout_id].is_deleted:
            assert standing <= kept, "an external write was dropped"
            assert self.model[checkout_id].acknowledged <= kept, "an acknowledged write was lost"

    def note(self, checkout_id: str, process: int, mark: str, acknowledgement: Any) -> None:
        assert acknowledgement.durability is Durability.DATABASE
        told, session = self.model[checkout_id], acknowledgement.session
        told.contents[session.version] = marks_in(session.fields)
        assert told.acknowledged <= told.contents[session.version], "a write was made without an acknowledged one"
        told.acknowledged.add(mark)
        told.own[process].add(mark)
        if acknowledgement.published:
            told.owed.add(mark)

    @contextmanager
    def failing_publish(self, process: int, fails: bool) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            if fails:
                patch.setattr(self.processes[process].redis, "publish", _away)
            yield


def fields_of(raw: bytes | None) -> dict[str, Any]:
    try:
        fields = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def marks_in(fields: dict[str, Any]) -> frozenset[str]:
    return frozenset(name for name in fields if name.startswith(("ours", "theirs")))


def _away(*_: Any, **__: Any) -> Any:
    raise RedisUnavailable("the publish failed, the test says")


@pytest.fixture
def machine(valkey_server: Callable[..., ValkeyServer]) -> type[Promises]:
    class WithServer(Promises):
        server = valkey_server()

    return WithServer


@pytest.mark.timeout(240)
def test_no_history_breaks_a_promise(machine: type[Promises]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# The negative controls: the shortest histories that the search finds where a guard is missing


@pytest.fixture
def history(machine: type[Promises]) -> Iterator[Promises]:
    begun = machine()
    yield begun
    begun.teardown()


def violation(guarded: bool, words: str) -> Any:
    return nullcontext() if guarded else pytest.raises(AssertionError, match=words)


@pytest.mark.parametrize("guarded", [True, False])
def test_identities_keep_a_deleted_session_dead(
    history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(redis_connection, "_info_value", lambda _section, _name: b"always-the-same")
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.save()
    history.delete(checkout_id=IDS[0], process=0, fails=False)
    history.restart_from_snapshot()
    with violation(guarded, "a deleted session is back"):
        history.get(checkout_id=IDS[0], process=0)


@pytest.mark.parametrize("guarded", [True, False])
def test_distrust_shows_a_process_its_own_writes(
    history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(Lease, "note_unpublished", lambda _self, _record: None)
        monkeypatch.setattr(Lease, "invalidate", lambda *_: None)
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.get(checkout_id=IDS[0], process=0)
    history.update(checkout_id=IDS[0], process=0, fails=True)
    with violation(guarded, "older than a write that it must have"):
        history.get(checkout_id=IDS[0], process=0)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_lease_bounds_how_long_others_miss_a_write(
    history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(history.processes[1].lease, "_span", 10**9)
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.processes[0].notes.write_down()
    history.get(checkout_id=IDS[0], process=1)
    history.update(checkout_id=IDS[0], process=0, fails=True)
    history.pass_time(seconds=1.0)
    with violation(guarded, "older than a write that it must have"):
        history.get(checkout_id=IDS[0], process=1)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_checksum_notices_what_others_have_changed(
    history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(value, "_check", lambda _before, _after: b"0" * 16)
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.get(checkout_id=IDS[0], process=0)
    history.external_edit(checkout_id=IDS[0])
    with violation(guarded, "a version with two contents"):
        history.get(checkout_id=IDS[0], process=0)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_publish_drops_no_external_write(history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool) -> None:
    judge = publishing.judge
    if not guarded:
        monkeypatch.setattr(
            publishing, "judge", lambda *each: Outcome.SET if judge(*each) is Outcome.EXTERNAL else judge(*each)
        )
        monkeypatch.setattr(flusher.Flusher, "settle", lambda _self, _id, opened, **_: flusher.Settled(opened))
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.external_write(checkout_id=IDS[0], reads_first=True, keeps_header=True)
    with violation(guarded, "an external write was dropped"):
        history.get(checkout_id=IDS[0], process=0)

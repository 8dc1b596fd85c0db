"""The store's promises under random histories: two processes, evictions, restarts, other programs, failed publishes.

The model is the list of what was acknowledged. It is checked after every step against what either process reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from checkout_cli.errors import RedisUnavailable, SessionDeleted, SessionExists, SessionNotFound
from checkout_cli.operations.embedded import HOST
from checkout_cli.session import Durability
from checkout_cli.settings import Settings
from checkout_cli.store import redis_connection, stamped
from checkout_cli.store.hand_over import HandOver
from tests.servers import ValkeyServer
from tests.store.support import ManualClock, key_of, make_store, save

IDS = ("session-0", "session-1")
PROCESSES = some.integers(0, 1)
CHECKOUTS = some.sampled_from(IDS)


class Acknowledged:
    """What the store has told about one session."""

    def __init__(self) -> None:
        self.writes: dict[int, int] = {}
        "Every acknowledged version with the value that it set."
        self.published = 0
        self.deleted = False
        self.own = [0, 0]
        "The newest version that each process wrote itself."

    @property
    def newest(self) -> int:
        return max(self.writes, default=0)


class Promises(RuleBasedStateMachine):
    """One Redis, one database, two processes."""

    server: ValkeyServer

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.value = 0
        self.saved = False
        self.model = {name: Acknowledged() for name in IDS}
        where = Settings(
            redis_host=HOST,
            redis_port=self.server.port,
            database_url=f"sqlite:///{Path(self.directory.name) / 'checkout.db'}",
            timeout=1.0,
        )
        self.server.flush()
        self.processes = [make_store(where, self.clock) for _ in range(2)]
        self.processes[0].database.create_schema()

    def teardown(self) -> None:
        for store in self.processes:
            store.close()
        self.directory.cleanup()

    # What processes do

    @rule(checkout_id=CHECKOUTS, process=PROCESSES, fails=some.booleans())
    def create(self, checkout_id: str, process: int, fails: bool) -> None:
        known = self.model[checkout_id]
        taken = bool(known.writes) or known.deleted
        try:
            with self.failing_publish(process, fails):
                acknowledgement = self.processes[process].create({"n": self.fresh()}, checkout_id=checkout_id)
        except (SessionExists, SessionDeleted):
            assert taken or self.foreign_value(checkout_id)
        else:
            assert not taken, "an id was used twice"
            self.note(checkout_id, process, acknowledgement)

    @rule(checkout_id=CHECKOUTS, process=PROCESSES, fails=some.booleans())
    def update(self, checkout_id: str, process: int, fails: bool) -> None:
        known = self.model[checkout_id]
        try:
            with self.failing_publish(process, fails):
                acknowledgement = self.processes[process].update(checkout_id, {"n": self.fresh()})
        except SessionNotFound:
            assert known.deleted or not known.writes, "an acknowledged session is gone"
        else:
            assert not known.deleted, "a deleted session was written to"
            assert acknowledgement.session.version > known.newest, "a version was issued twice"
            self.note(checkout_id, process, acknowledgement)

    @rule(checkout_id=CHECKOUTS, process=PROCESSES, fails=some.booleans())
    def delete(self, checkout_id: str, process: int, fails: bool) -> None:
        known = self.model[checkout_id]
        try:
            with self.failing_publish(process, fails):
                self.processes[process].delete(checkout_id)
        except SessionNotFound:
            assert known.deleted or not known.writes
        else:
            if known.writes:
                known.deleted = True
                known.own[process] = known.newest + 1
                if not fails and not self.processes[process].redis.breaker.is_open:
                    known.published = known.newest + 1

    @rule(checkout_id=CHECKOUTS, process=PROCESSES)
    def get(self, checkout_id: str, process: int) -> None:
        known = self.model[checkout_id]
        try:
            session = self.processes[process].get(checkout_id)
        except SessionNotFound:
            assert known.deleted or not known.writes, "an acknowledged session is gone"
            return
        if not known.writes:
            assert session.version == 0, "a session that nobody created"
            return
        assert session.version in known.writes, "a version that was never acknowledged"
        assert session.fields["n"] == known.writes[session.version], "another content than was acknowledged"
        assert session.version >= known.published, "older than a published version"
        assert session.version >= known.own[process], "older than an own write"
        if known.deleted:
            assert known.published <= known.newest, "a deleted session is back"
            assert known.own[process] <= known.newest, "a process reads what it has deleted"

    # What happens to them

    @rule(seconds=some.sampled_from([0.1, 0.5, 1.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        """After T everybody knows of everything (G3)."""
        self.clock.advance(seconds)
        if seconds >= 1.0:
            for known in self.model.values():
                known.published = known.newest + (1 if known.deleted else 0)

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

    @rule(checkout_id=CHECKOUTS, keeps_stamp=some.booleans())
    def foreign_overwrite(self, checkout_id: str, keeps_stamp: bool) -> None:
        """Another program reads, changes and writes; or writes what it likes. Where we have a row, the row wins."""
        present = self.ask("GET", key_of(checkout_id))
        if keeps_stamp and present is not None and stamped.decode(present) is not None:
            self.ask("SET", key_of(checkout_id), present.replace(b'"n":', b'"n":9'), "PX", 1_800_000)
        elif self.model[checkout_id].writes:
            self.ask("SET", key_of(checkout_id), b'{"n":-1}', "PX", 1_800_000)

    # Helpers

    def fresh(self) -> int:
        self.value += 1
        return self.value

    def ask(self, *command: Any) -> Any:
        with self.server.client(socket_timeout=5) as client:
            return client.execute_command(*command)

    def foreign_value(self, checkout_id: str) -> bool:
        value = self.ask("GET", key_of(checkout_id))
        return value is not None and not value.startswith(stamped.FILL_MARKER)

    def note(self, checkout_id: str, process: int, acknowledgement: Any) -> None:
        assert acknowledgement.durability is Durability.DATABASE
        known, version = self.model[checkout_id], acknowledgement.session.version
        known.writes[version] = self.value
        known.own[process] = version
        if acknowledgement.published:
            known.published = version

    @contextmanager
    def failing_publish(self, process: int, fails: bool) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            if fails:
                patch.setattr(self.processes[process].redis, "publish", _away)
            yield


def _away(*_: Any, **__: Any) -> str:
    raise RedisUnavailable("the publish failed, the test says")


@pytest.fixture
def machine(valkey_server: Callable[..., ValkeyServer]) -> type[Promises]:
    class WithServer(Promises):
        server = valkey_server()

    return WithServer


@pytest.mark.timeout(180)
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


@pytest.mark.parametrize("guarded", [True, False])
def test_stamps_keep_a_deleted_session_dead(history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool) -> None:
    if not guarded:
        monkeypatch.setattr(redis_connection, "_info_value", lambda _section, _name: b"always the same")
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.save()
    history.delete(checkout_id=IDS[0], process=0, fails=False)
    history.restart_from_snapshot()
    with nullcontext() if guarded else pytest.raises(AssertionError, match="older than a published version"):
        history.get(checkout_id=IDS[0], process=0)


@pytest.mark.parametrize("guarded", [True, False])
def test_distrust_shows_a_process_its_own_writes(
    history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(HandOver, "note_unpublished", lambda _self, _id, _version: None)
        monkeypatch.setattr(HandOver, "void", lambda *_: None)
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.get(checkout_id=IDS[0], process=0)
    history.update(checkout_id=IDS[0], process=0, fails=True)
    with nullcontext() if guarded else pytest.raises(AssertionError, match="older than an own write"):
        history.get(checkout_id=IDS[0], process=0)


@pytest.mark.parametrize("guarded", [True, False])
def test_checksums_keep_what_others_change_out(
    history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(stamped, "_checksum", lambda _version, _body: 0)
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.foreign_overwrite(checkout_id=IDS[0], keeps_stamp=True)
    with nullcontext() if guarded else pytest.raises(AssertionError, match="another content"):
        history.get(checkout_id=IDS[0], process=0)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_lease_bounds_how_long_others_miss_a_write(
    history: Promises, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    if not guarded:
        monkeypatch.setattr(history.processes[1].hand_over, "_span", 10**9)
    history.create(checkout_id=IDS[0], process=0, fails=False)
    history.processes[0].hand_over.write_down()
    history.get(checkout_id=IDS[0], process=1)
    history.update(checkout_id=IDS[0], process=0, fails=True)
    history.pass_time(seconds=1.0)
    with nullcontext() if guarded else pytest.raises(AssertionError, match="older than a published version"):
        history.get(checkout_id=IDS[0], process=1)

"""What would make the fault tests worthless: a reckoning that notices nothing, and faults that do not happen."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Durability
from tests.faults.conftest import Scenario
from tests.faults.harness import ID, Background, Checkpoint, Shop, outcome
from tests.support.proxy import Proxy
from tests.support.stores import ManualClock, evict, make_tables, put_raw, raw


@pytest.fixture
def shop(scenario: Scenario, clock: ManualClock) -> Iterator[Shop]:
    """A shop that is not reckoned with at the end."""
    made = Shop(scenario.settings, clock)
    make_tables(made.process().database)
    yield made
    made.close()


@pytest.mark.fault("11 negative controls")
def test_a_lost_write_is_noticed(shop: Shop) -> None:
    store = shop.process()
    shop.create(store)
    shop.update(store)
    row = store.database.read(ID)
    assert row is not None
    lost = (row.body or b"").replace(b'"mark2":1', b'"mark0":1').decode()
    with store.database._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE checkoutctl_sessions SET body = ?", (lost,))
    with pytest.raises(AssertionError, match="writes are lost"):
        shop.check()


@pytest.mark.fault("11 negative controls")
def test_a_lost_session_and_one_too_many_are_noticed(shop: Shop) -> None:
    store = shop.process()
    shop.create(store)
    store.create({}, checkout_id="session-0002")
    with pytest.raises(AssertionError, match="2 created"):
        shop.check()
    store.database.erase(ID)
    with pytest.raises(AssertionError, match="session is lost"):
        shop.check()


@pytest.mark.fault("11 negative controls")
def test_without_the_lease_the_partition_test_fails(
    shop: Shop, scenario: Scenario, redis_proxy: Proxy, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, other = shop.process(scenario.through(redis_proxy)), shop.process()
    shop.create(cut)
    redis_proxy.refuse()
    shop.update(cut)
    clock.advance(1.01)
    monkeypatch.setattr(other.lease, "doubt", lambda *_: None)
    with pytest.raises(AssertionError, match="stale read"):
        shop.get(other)


@pytest.mark.fault("11 negative controls")
def test_if_a_publish_might_create_a_key_the_stalled_writer_test_would_fail(shop: Shop, background: Background) -> None:
    stalled, other = shop.process(), shop.process()
    shop.create(stalled)
    shop.get(other)
    checkpoint = Checkpoint(stalled.redis, "publish")
    writing = background(shop.update, stalled)
    checkpoint.wait()
    value = raw(other, ID) or b""
    shop.update(other)
    evict(other, ID)
    checkpoint.release()
    outcome(writing)
    assert raw(other, ID) is None
    shop.get(other)
    assert shop.get(other).version == 3
    put_raw(other, ID, value)  # what such a publish would leave there
    with pytest.raises(AssertionError, match="stale read"):
        shop.get(other)


@pytest.mark.fault("11 negative controls")
def test_a_deleted_session_that_is_read_is_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = shop.process(), shop.process()
    shop.create(store)
    value = raw(store, ID) or b""
    shop.delete(store)
    put_raw(store, ID, value)
    monkeypatch.setattr(other.lease, "doubt", lambda *_: None)
    with pytest.raises(AssertionError, match="deleted session was read"):
        shop.get(other)


@pytest.mark.fault("11 negative controls")
def test_a_call_that_takes_too_long_is_noticed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shop.process()
    shop.create(store)
    moments = iter([0.0, 60.0])
    monkeypatch.setattr("tests.faults.harness.time.monotonic", lambda: next(moments, 60.0))
    with pytest.raises(AssertionError, match="a call took"):
        shop.get(store)


# The proxy


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that answers each request with itself, and one connection after the other."""
    server = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                while piece := connection.recv(100):
                    connection.sendall(piece)

    with Background() as background:
        background(serve)
        yield server.getsockname()[:2]
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def asked(port: int, request: bytes = b"hello", timeout: float = 0.2) -> bytes | str:
    """The answer, or which way there was none."""
    try:
        with socket.create_connection((HOST, port), timeout=timeout) as connection:
            connection.sendall(request)
            return connection.recv(100)
    except OSError as error:
        return type(error).__name__


@pytest.mark.fault("11 negative controls")
def test_each_fault_of_the_proxy_happens_and_ends(echo: tuple[str, int]) -> None:
    with Proxy(echo) as proxy:
        assert asked(proxy.port) == b"hello"
        proxy.refuse()
        assert asked(proxy.port) == "ConnectionRefusedError"
        proxy.restore()
        assert asked(proxy.port) == b"hello"
        proxy.black_hole()
        assert asked(proxy.port) == "TimeoutError"
        proxy.restore()
        proxy.reply_delay = 0.3
        assert asked(proxy.port) == "TimeoutError"
        started = time.monotonic()
        assert asked(proxy.port, timeout=5) == b"hello"
        assert time.monotonic() - started >= 0.3
        proxy.restore()
        lost = proxy.lose_reply_to(b"COMMIT")
        assert asked(proxy.port) == b"hello"
        assert not lost.is_set()
        assert asked(proxy.port, b"COMMIT") in {b"", "ConnectionResetError"}
        assert lost.wait(1)
        assert asked(proxy.port, b"COMMIT") == b"COMMIT"


def test_a_write_that_redis_alone_took_is_no_promise_of_the_databases(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.stores import database_away

    store = shop.process()
    shop.create(store)
    monkeypatch.setattr(store.database, "update", database_away)
    monkeypatch.setattr(store.database, "read", database_away)
    assert shop.update(store).durability is Durability.REDIS
    monkeypatch.undo()
    store.redis.ask(("FLUSHALL",))
    shop.check()

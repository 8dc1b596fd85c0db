"""What the tests of the store share: a clock in the test's hands, and stores made for them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, RedisUnavailable
from checkout_cli.keys import session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import STORE_FIELD, TierName, iso
from checkout_cli.session import decode as decode_body
from checkout_cli.store.breaker import Breaker
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.protocol.value import Value, decode, encode_value
from checkout_cli.store.records import Record
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer

SQLITE = "sqlite:///"
STORES: WeakSet[CheckoutStore] = WeakSet()
"""Those that are made for the tests, and may hold counts that are not sent yet."""

ID = "session-0001"
LONG_AGO = 1_700_000_000_000
"""A moment (ms) that is long past, and that an entry of the index can have: one of less is somebody else's."""
_FOREIGN = (
    b'{"checkoutId":"session-0001","subtotal":10.50,"weight":1.000000000000000000001,"big":12345678901234567890123,'
    b'"odd":{"deep":[1.0,2e3,null,"\\u00e9"]},"paymentStatus":"pending","createdAt":"%s"}'
)


@dataclass
class ManualClock:
    """Time that passes only when a test says so. It begins now, because a real Redis has its own clock."""

    milliseconds: int = 0
    seconds: float = 1000.0

    def __post_init__(self) -> None:
        self.milliseconds = self.milliseconds or time.time_ns() // 1_000_000

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.milliseconds += round(seconds * 1000)
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        """The clock to hand over."""
        # A flusher in the background waits until the store is closed: a test has it make its turns.
        return Clock(lambda: self.milliseconds, lambda: self.seconds, wait=lambda event, _: event.wait())


def make_store(settings: Settings, time_of: ManualClock | None = None, **options: Any) -> CheckoutStore:
    """A store of its own process, as it were: connections, notes, lease and breakers are its own."""
    manual = time_of or ManualClock()
    store = CheckoutStore(
        settings,
        options.pop("redis", None) or RedisAdmin(settings, elapsed=manual.clock.elapsed, jitter=lambda: 1.0),
        options.pop("database", None)
        or DatabaseAdmin(settings, breaker=Breaker(manual.clock.elapsed, jitter=lambda: 1.0)),
        clock=manual.clock,
        **options,
    )
    STORES.add(store)
    return store


@cache
def _new_tables() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "checkout.db"
        with closing(DatabaseAdmin(Settings(database_url=f"{SQLITE}{path}"))) as database:
            database.create_schema()
        return path.read_bytes()


def make_tables(database: DatabaseAdmin) -> None:
    """What ``create_schema`` does; a new file of SQLite is a copy of one, which takes a tenth of the time."""
    path: Path | None = getattr(database._engine, "sqlite_path", None)
    if path is None or path.exists():
        database.create_schema()
    else:
        path.touch(mode=0o600)
        path.write_bytes(_new_tables())


def send_counts() -> None:
    """What any store of this test has counted goes to Redis, as it does within a second."""
    for store in list(STORES):
        store.bookkeeping.flush()


def without_redis(settings: Settings) -> Settings:
    """The same with a port where nobody listens."""
    return replace(settings, redis_host=HOST, redis_port=free_port())


def without_database(settings: Settings) -> Settings:
    """The same with a database whose port nobody listens on."""
    return replace(settings, database_url=f"postgresql://nobody@{HOST}:{free_port()}/nothing")


def key_of(checkout_id: str) -> bytes:
    """The key of a session as bytes."""
    return session_key(checkout_id).encode()


def raw(store: CheckoutStore, checkout_id: str) -> bytes | None:
    """The bytes at a session's key, read past the store."""
    value: bytes | None = store.redis.ask(("GET", key_of(checkout_id)))
    return value


def put_raw(store: CheckoutStore, checkout_id: str, value: bytes, seconds: int = 1800) -> None:
    """Write bytes to a session's key as another program would."""
    store.redis.ask(("SET", key_of(checkout_id), value, "EX", seconds))


def copy_of(store: CheckoutStore, checkout_id: str) -> Value | None:
    """What the store would know of the bytes at the key."""
    value = raw(store, checkout_id)
    return None if value is None else decode(value)


def external_write(
    store: CheckoutStore, changes: dict[str, Any], checkout_id: str = ID, *, header: bool = True
) -> bytes:
    """Read, change and write a session as an older program does; without ``header`` as one that drops our member.

    Returns the bytes that it wrote.
    """
    fields = json.loads(raw(store, checkout_id) or b"{}") | changes
    if not header:
        fields.pop(STORE_FIELD, None)
    value = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    put_raw(store, checkout_id, value)
    return value


def under_another_identity(value: bytes) -> bytes:
    """A value of ours as if it had been published to another server: what a snapshot brings back."""
    return encode_value(msgspec.structs.replace(decode(value), identity=b"another:server"))


def look_around(store: CheckoutStore) -> None:
    """Look for pending rows as a read does when its lease has run out, and bring over what has waited for a while."""
    due = store.lease.renew()
    assert due is not None, "the lease has not run out, or a tier is away"
    store.publisher.look_around(due)


def flush_all(store: CheckoutStore) -> None:
    """Bring to the database what only Redis has."""
    for _ in range(100):
        if not store.flusher.pending.count():
            return
        store.publisher.look_around([])
    raise AssertionError("something is always dirty")


def row_of(store: CheckoutStore, checkout_id: str = ID) -> Record:
    """The row of a session that has one."""
    record = store.database.read(checkout_id)
    assert record is not None
    return record


def row_fields(store: CheckoutStore, checkout_id: str = ID) -> dict[str, Any]:
    """The fields of a living row."""
    body = row_of(store, checkout_id).body
    assert body is not None
    return decode_body(body)


def evict(store: CheckoutStore, checkout_id: str) -> None:
    """Remove the key as Redis does under memory pressure."""
    store.redis.ask(("DEL", key_of(checkout_id)))


def count_calls(target: Any, name: str, monkeypatch: Any) -> list[tuple[Any, ...]]:
    """Note the arguments of each call of a method, which goes on working."""
    calls: list[tuple[Any, ...]] = []
    original = getattr(target, name)

    def noted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(target, name, noted)
    return calls


def database_away(*_: Any, **__: Any) -> Any:
    """Stands in for a method of the database tier."""
    raise DatabaseUnavailable("the database is away, the test says")


def redis_away(*_: Any, **__: Any) -> Any:
    """Stands in for a method of the Redis tier."""
    raise RedisUnavailable("Redis is away, the test says")


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """For what only a real server's own clock brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def foreign_session(clock: ManualClock) -> bytes:
    """A session as another program writes it, a minute old, with numbers that no float can hold."""
    return _FOREIGN % iso(clock.milliseconds - 60_000).encode()


def trusted(store: CheckoutStore, checkout_id: str = ID) -> dict[str, Any] | None:
    """The fields, if a read believes Redis."""
    session = store.get(checkout_id)
    return session.fields if session.tier is TierName.REDIS and session.version else None


def save(server: ValkeyServer) -> None:
    """Write a snapshot, which a restart after SIGKILL brings back."""
    with server.client(socket_timeout=5) as client:
        client.save()

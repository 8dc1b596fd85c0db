"""Every command of ``checkoutctl``, and every call of the library, in the states in which they use all of Redis.

For the tests of the ACL roles: what is listed here is run as the user of a role, so a command that is missing here has
no proof. The states are prepared by the server's own default user.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from checkout_cli.commands.acl.roles import COMMANDS
from checkout_cli.commands.doctor.run import run_checks  # noqa: F401  (it enters all checks)
from checkout_cli.commands.record import records
from checkout_cli.commands.sessions.delete import delete_all
from checkout_cli.commands.sessions.delete import plan as make_plan
from checkout_cli.commands.sync.sync import pending_counts, synchronize
from checkout_cli.config.settings import Settings
from checkout_cli.domain import Coupons, DeliveryCharges
from checkout_cli.domain.statistics import Statistics
from checkout_cli.domain.users import Users
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, LEGACY_STATS, claim_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.schema import metadata, versions
from checkout_cli.store.protocol.value import decode, encode_value
from tests.support.divergence import (
    beside_the_database,
    create_in_redis_alone,
    make_conflict,
    set_columns,
    update_in_database_alone,
    write_externally,
)
from tests.support.operator_runs import typed
from tests.support.servers import ValkeyServer
from tests.support.stores import LONG_AGO, SQLITE, make_store, make_tables, put_raw

FOREIGN = "basket:1"
"""A key of another program."""
LIVING, DEAD, ALONE, STUCK, CONFLICT = "living-0001", "dead-00001", "alone-0001", "stuck-0001", "conflict-01"
THEIRS, BROKEN, CLAIMED = "theirs-001", "broken-0001", "claimed-01"


CONFIGURATION = {"maxmemory": "0", "maxmemory-policy": "noeviction", "latency-monitor-threshold": "0"}
"""What a state may change of it."""


class _Saved(NamedTuple):
    """A state as it was made: keys with their times to live (ms), configuration, and the SQLite file."""

    keys: list[tuple[bytes, int, bytes]]
    configuration: dict[str, str]
    database: bytes


class Scene:
    """A server with a bit of everything in it, and the default user's way to it."""

    def __init__(self, server: ValkeyServer, settings: Settings) -> None:
        """``settings`` are the default user's."""
        self.server, self.settings = server, settings
        self._states: dict[str, _Saved] = {}

    def prepare(self, state: Callable[[Scene], None]) -> None:
        """Let it be as the state has it, with no script known: made the first time, and brought back from then on."""
        name = state.__name__
        if name not in self._states:
            self.empty()
            getattr(self, name)()
            self._states[name] = self._as_it_is()
        saved, file = self._states[name], Path(self.settings.database_url.removeprefix(SQLITE))
        for part in ("", "-wal", "-shm"):
            Path(f"{file}{part}").unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(saved.database)
        with self.server.client(socket_timeout=5) as client, client.pipeline(transaction=False) as pipeline:
            pipeline.flushall()
            pipeline.script_flush()
            for key, left, content in saved.keys:
                pipeline.restore(key, max(left, 0), content)
            for option, value in saved.configuration.items():
                pipeline.config_set(option, value)
            pipeline.execute()

    def _as_it_is(self) -> _Saved:
        with self.server.client(socket_timeout=5) as client:
            keys = [(key, client.pttl(key), client.dump(key)) for key in client.scan_iter(count=1000)]
            configuration = {option: client.config_get(option)[option] for option in CONFIGURATION}
        return _Saved(keys, configuration, Path(self.settings.database_url.removeprefix(SQLITE)).read_bytes())

    def empty(self) -> None:
        """Nothing in Redis or the database, and no script known."""
        with self.server.client(socket_timeout=5) as client:
            client.flushall()
            client.script_flush()
            for name, value in CONFIGURATION.items():
                client.config_set(name, value)
        with CheckoutStore.open(self.settings) as store:
            make_tables(store.database)
            with store.database.transaction() as connection:
                for table in set(metadata.sorted_tables) - {versions}:
                    connection.execute(table.delete())

    def fill(self) -> None:
        """Sessions, caches, users, statistics, and keys of other programs, old and foreign."""
        with CheckoutStore.open(self.settings) as store:
            store.create({"userId": "user-1", "totalAmount": 24.5}, checkout_id=LIVING)
            store.set_payment_status(LIVING, "processing")
            DeliveryCharges(store).charge(5, 20, lambda *_: {"fee": 1})
            Coupons(store).validate("SAVE10", {}, lambda *_: {"valid": True})
        with self.server.client() as client:
            client.zadd(INDEX, {DEAD: LONG_AGO, LIVING: LONG_AGO + 1})
            client.hset(LEGACY_STATS, mapping={"totalCreated": 3})
            client.set(FOREIGN, "1")
            client.set(claim_key(CLAIMED), "somebody", px=60_000)

    def empty_redis(self) -> None:
        """Sessions that only the database has."""
        self.fill()
        with self.server.client() as client:
            client.flushall()

    def beside_a_set(self) -> None:
        """The SET of an older program, and ours beside it."""
        self.fill()
        with self.server.client() as client:
            client.rename(INDEX, INDEX_BESIDE)
            client.zrem(INDEX_BESIDE, LIVING)
            client.sadd(INDEX, LIVING, DEAD)
            client.set("checkout:session:older-0001", "{}", px=60_000)
            client.sadd(INDEX, "older-0001", "leaked-001")

    def many_beside_a_set(self) -> None:
        """The same, with more entries than one page has."""
        self.beside_a_set()
        with self.server.client() as client:
            client.zadd(INDEX_BESIDE, {f"long-gone-{number:04}": LONG_AGO + number for number in range(1, 602)})

    def beside_something_else(self) -> None:
        """Another program's key where our index would be."""
        self.fill()
        with self.server.client() as client:
            client.rename(INDEX, INDEX_BESIDE)
            client.set(INDEX, "x")

    def interrupted_adoption(self) -> None:
        """An adoption that has ended half-way, and an older program that has begun a new SET."""
        self.beside_a_set()
        with self.server.client() as client:
            client.rename(INDEX, INDEX_ASIDE)
            client.sadd(INDEX, LIVING, "another-01")

    def without_index(self) -> None:
        """Sessions, and no index of them."""
        self.fill()
        with self.server.client() as client:
            client.delete(INDEX)

    def all_waiting(self) -> None:
        """Writes that only one of the tiers has, either way, and a conflict."""
        self.fill()
        with CheckoutStore.open(self.settings) as store:
            make_conflict(store, CONFLICT)
            store.create({}, checkout_id=STUCK)
            store.notes.write_down()
            update_in_database_alone(self.settings, STUCK, notes="new")
            set_columns(store, STUCK, updated_at=1000)
        create_in_redis_alone(self.settings, ALONE)
        with self.server.client() as client:
            client.sadd("checkout:pending", "gone-00001")  # its session has ended

    def written_externally(self) -> None:
        """External writes that no process of ours has seen: with a row, without one, and one that is no session."""
        self.fill()
        with CheckoutStore.open(self.settings) as store:
            write_externally(store, LIVING, paymentStatus="paid")
            store.create({}, checkout_id=BROKEN)
            put_raw(store, BROKEN, b"{")
            put_raw(store, THEIRS, b"{}")
        with self.server.client() as client:
            client.zadd(INDEX, {THEIRS: LONG_AGO, BROKEN: LONG_AGO})

    def many(self) -> None:
        """More entries in the index than one page has."""
        self.fill()
        with self.server.client() as client:
            client.zadd(INDEX, {f"long-gone-{number:04}": LONG_AGO + number for number in range(1, 602)})

    def half_adopted(self) -> None:
        """Our index, a SET that was put aside, and what a process has left beside."""
        self.fill()
        with self.server.client() as client:
            client.sadd(INDEX_ASIDE, LIVING, DEAD, "another-01")
            client.zadd(INDEX_BESIDE, {"left-00001": LONG_AGO})

    def evicting(self, policy: str = "allkeys-lru") -> None:
        """A server that would evict sessions, and has measured a pause."""
        self.fill()
        with self.server.client() as client:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", policy)
            client.config_set("latency-monitor-threshold", "1")
            client.execute_command("DEBUG", "SLEEP", "0.01")

    def evicting_least_used(self) -> None:
        """The same with another idea of what goes first."""
        self.evicting("allkeys-lfu")

    def apart(self) -> None:
        """Everything that an index can have wrong, and copies and names that no session stands behind."""
        self.all_waiting()
        with CheckoutStore.open(self.settings) as store, self.server.client() as client:
            for name in ("unlisted-1", "endless-01", "sooner-001", "orphan-001"):
                store.create({}, checkout_id=name)
            client.zrem(INDEX, "unlisted-1")
            client.zadd(INDEX, {"gone-00002": store.clock.wall() + 600_000})
            client.persist("checkout:session:endless-01")
            client.pexpire("checkout:session:sooner-001", 60_000)
            client.set("checkout:session:small-0001", "{}", px=60_000)
            value = client.get("checkout:session:orphan-001")
            assert isinstance(value, bytes)
            elsewhere = msgspec.structs.replace(decode(value), identity=b"another:server")
            client.set("checkout:session:orphan-001", encode_value(elsewhere), keepttl=True)
            store.database.erase("orphan-001")

    @property
    def undo_file(self) -> Path:
        """Where the undo file of :meth:`deleted` is."""
        return self.server.directory / "undo"

    def deleted(self) -> None:
        """A session that was deleted, and the undo file of that."""
        self.fill()
        self.undo_file.unlink(missing_ok=True)
        with CheckoutStore.open(self.settings) as store:
            delete_all(store, make_plan(store, [LIVING], undo_file=self.undo_file), agreed=lambda _: True)

    def everything(self) -> tuple[dict[bytes, Any], dict[str, list[Any]]]:
        """Each key's content and when it ends, in seconds; each table's rows."""
        with self.server.client() as client:
            names = sorted(client.scan_iter("*", count=1000))
            keys = {name: (client.dump(name), client.expiretime(name)) for name in names}
        with CheckoutStore.open(self.settings) as store, store.database.transaction() as connection:
            rows = {table.name: list(connection.execute(table.select())) for table in metadata.sorted_tables}
        return keys, rows

    def filled_in(self, word: str) -> str:
        """An argument with what only the scene knows."""
        if word == "{conflict}":
            with CheckoutStore.open(self.settings) as store:
                return store.flush_log.conflicts(1)[0].write_id
        return str(self.undo_file) if word == "{undo}" else word


@dataclass(frozen=True)
class Run:
    """One run of a command: its name in the tree, the arguments after it, and the state that it finds."""

    command: str
    arguments: str = ""
    state: Callable[[Scene], None] = Scene.fill
    input: str | None = None

    @property
    def words(self) -> list[str]:
        """What is typed after ``checkoutctl``."""
        return [*self.command.split(), *self.arguments.split()]


STATES = {
    "cleanup": "fill beside_a_set interrupted_adoption without_index",
    "cleanup --dry-run": "fill interrupted_adoption",
    "doctor": "all_waiting evicting beside_a_set half_adopted",
    "health": "fill beside_a_set without_index interrupted_adoption all_waiting half_adopted",
    "latency": "fill evicting",
    "memory show": "fill evicting evicting_least_used",
    "migrate plan": "all_waiting",
    "migrate run": "all_waiting empty_redis beside_a_set",
    "migrate run --to": "all_waiting fill",
    "sessions delete": "written_externally",
    "sessions export": "written_externally all_waiting beside_a_set interrupted_adoption without_index",
    "sessions extend": "fill written_externally",
    "sessions index adopt": "beside_a_set",
    "sessions index check": "fill beside_a_set half_adopted beside_something_else",
    "sessions index repair": "apart interrupted_adoption",
    "sessions list": "fill many half_adopted many_beside_a_set beside_a_set interrupted_adoption without_index "
    "all_waiting written_externally",
    "sessions restore": "deleted",
    "sessions show": "fill written_externally",
    "sessions trace": "fill written_externally beside_a_set",
    "sessions update": "fill written_externally",
    "sessions why": "fill written_externally",
    "stats": "fill written_externally",
    "sync": "all_waiting written_externally",
    "sync --dry-run": "all_waiting",
    "top": "fill beside_a_set without_index all_waiting",
}
"""In which states the run in a command's record is done, where that is more than the usual one."""


def _runs() -> Iterator[Run]:
    """The runs that the records name, in all these states."""
    for record in records():
        for name, use in record.by_name().items():
            command, arguments = typed(name, use)
            for state in STATES.get(name, "fill").split() if use.role else ():
                yield Run(command, arguments.replace("{living}", LIVING), getattr(Scene, state), use.given)


RUNS = (
    *_runs(),
    # and other arguments that make a command use more of Redis
    Run("sessions list", "--limit 1 --tier redis"),
    Run("sessions show", "living"),
    Run("sessions show", ALONE, state=Scene.all_waiting),
    Run("sessions trace", "living"),
    Run("sessions trace", CLAIMED),
    Run("sessions trace", "another-01", state=Scene.half_adopted),
    Run("sessions why", "--user user-1"),
    Run("sessions why", ALONE, state=Scene.all_waiting),
    Run("sessions export", "--cursor r1-a"),
    Run("sessions create", "--file - --id created-02", state=Scene.beside_a_set, input="{}"),
    Run("sessions update", f"{ALONE} --set notes=x", state=Scene.all_waiting),
    Run("sessions update", f"{LIVING} --set notes=y", state=Scene.beside_something_else),
    Run("sessions delete", f"{LIVING} --yes"),
    Run("sessions delete", f"{LIVING} --yes", state=Scene.beside_a_set),
    Run("sessions delete", "--status pending --yes", state=Scene.all_waiting),
    Run("sessions delete", "--user user-1 --yes", state=Scene.without_index),
    Run("sessions index adopt", "--yes", state=Scene.beside_a_set),
    Run("sessions index adopt", "--yes", state=Scene.interrupted_adoption),
    Run("sessions index adopt", "--yes", state=Scene.half_adopted),
    Run("sync", "--conflicts", state=Scene.all_waiting),
    Run("sync", "--resolve {conflict} --keep written --yes", state=Scene.all_waiting),
    Run("cleanup", "--expired --index --orphans --yes", state=Scene.apart),
    Run("cache delivery invalidate", "--distance-from 1 --distance-to 6 --yes"),
    Run("cache coupon invalidate", "--yes"),
    Run("stats"),
    Run("stats", "--by minute"),
    Run("memory families", "--sample 1000"),
)


def use_the_library(settings: Settings) -> None:
    """What a shop does with the library, on a healthy day and while the database is away."""
    with make_store(settings) as store:
        _shop(store)
    with beside_the_database(settings) as store:
        assert store.create({"userId": "user-3"}, checkout_id="shop-alone").durability is Durability.REDIS
        store.update("shop-alone", {"notes": "x"})
        store.get("shop-alone")
        pending_counts(store, database=False)
    with make_store(settings) as store:
        store.get("shop-alone")  # which flushes it
        synchronize(store)


def count_sessions(settings: Settings) -> None:
    """What a shop does where its index is not as it should be."""
    with make_store(settings) as store:
        store.admin.count()


def _shop(store: CheckoutStore) -> None:
    store.admin.count()
    store.create({"userId": "user-2", "totalAmount": 3.5}, checkout_id="shop-00001")
    store.get("shop-00001")
    write_externally(store, "shop-00001", notes="theirs")
    store.get("shop-00001")
    store.update("shop-00001", {"notes": "x"})
    store.set_payment_status("shop-00001", "processing")
    store.set_payment_status("shop-00001", "paid", order_id="ORD-1")
    store.admin.count()
    store.database.totals()
    store.redis.legacy_statistics()
    store.bookkeeping.flush()
    for _ in range(2):
        DeliveryCharges(store).charge(8, 20, lambda *_: {"fee": 1})
        Coupons(store).validate("SAVE30", {}, lambda *_: {"valid": True})
    DeliveryCharges(store).put(9, 20, {"fee": 2})
    DeliveryCharges(store).invalidate_range(1, 2)
    DeliveryCharges(store).invalidate_all()
    Coupons(store).invalidate("SAVE30")
    Users(store).get("user-2")
    Statistics(store).read(60, store.clock.wall())
    store.delete("shop-00001")


# What a server was really asked

HARNESS = Counter({"config|resetstat": 1, "monitor": 1, "echo": 1})
"""What :func:`listening` itself adds to the server's count of commands."""
_LINE = re.compile(r"\+[0-9.]+ \[\d+ [^\]]+\] (.*)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Heard:
    """What happened while a server was listened to: how often each command ran, and every one that MONITOR shows."""

    counts: Counter[str] = field(default_factory=Counter)
    commands: list[tuple[str, ...]] = field(default_factory=list)


@contextmanager
def listening(server: ValkeyServer) -> Iterator[Heard]:
    """Listen for the time of the block; commands of administrators are counted and not shown."""
    heard = Heard()
    with (
        server.client(socket_timeout=5) as client,
        socket.create_connection((HOST, server.port), timeout=10) as connection,
    ):
        client.config_resetstat()
        stream = connection.makefile("rwb")
        stream.write(b"MONITOR\r\n")
        stream.flush()
        assert stream.readline() == b"+OK\r\n"
        yield heard
        client.echo("the-end")
        while '"the-end"' not in (line := stream.readline().decode("latin-1")):
            if found := _LINE.match(line):
                heard.commands.append(tuple(_WORD.findall(found[1])))
        ran = client.info("commandstats").items()
        heard.counts = Counter({name.removeprefix("cmdstat_"): int(count["calls"]) for name, count in ran}) - HARNESS


def name_of(run: Run) -> str:
    """Under which name the table has a run."""
    options = (name for name in COMMANDS if name.startswith(f"{run.command} --") and name.split()[-1] in run.words)
    return next(options, run.command)

"""A shop of several processes under faults, for a minute or longer: what was promised, and whether it was kept.

``python -m tests.benchmarks.run_faults --seconds 60 --mode mixed``; in mixed mode every other process writes behind.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from checkout_cli.commands.sync.sync import synchronize
from checkout_cli.config.settings import Settings
from checkout_cli.keys import session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import decode
from checkout_cli.store.checkout_store import CheckoutStore
from tests.faults.external_writer import ExternalWriter
from tests.store.history import READS, Call, History, Kept
from tests.store.worker import Order, perform
from tests.support.proxy import Proxy, proxied
from tests.support.servers import PostgresServer, ValkeyServer

KINDS = ("get",) * 12 + ("update",) * 6 + ("create", "pay", "peek")
MODES = ("database", "write-behind", "mixed")
SESSIONS_AT_ONCE = 6
SESSIONS_LIVE = 2.0
"""Seconds after which the processes turn to other sessions."""
PAUSE = 0.004
"""Seconds that a process waits between calls, at the most."""
DELETIONS = 0.0015
"""The share of the calls that delete."""


def work(pipe: Connection, number: int, settings: Settings, seconds: float, seed: int) -> None:
    """One process of the shop: calls at random, until the time is up, then all of them go to the judge."""
    import logging

    logging.disable(logging.CRITICAL)
    chance = random.Random(seed)
    calls: list[Call] = []
    with CheckoutStore.open(settings) as store:
        pipe.send("ready")
        started = pipe.recv()
        while (now := time.monotonic()) < started + seconds:
            name = f"shopper-{int((now - started) / SESSIONS_LIVE):04d}-{chance.randrange(SESSIONS_AT_ONCE)}"
            calls.append(_call(store, f"process {number}", _order(chance, name, f"mark{number}x{len(calls)}")))
            time.sleep(chance.random() * PAUSE)
    pipe.send(calls)


def _order(chance: random.Random, name: str, mark: str) -> Order:
    kind = "delete" if chance.random() < DELETIONS else chance.choice(KINDS)
    return Order(kind, name, mark, chance.choice(("processing", "failed", "paid")))


def _call(store: CheckoutStore, process: str, order: Order) -> Call:
    began = time.monotonic()
    answer = perform(store, order)
    ended = time.monotonic()
    mark = order.mark if order.kind in {"create", "update"} else ""
    return Call(process, order.kind, order.checkout_id, mark, began, ended, began, ended, **answer)


class Injector:
    """Makes one fault after the other, and notes when Redis lost what it alone may have had.

    It is the external writer too. What that has written, a process of ours meets at once, so that nothing excuses its
    loss.
    """

    def __init__(
        self, server: ValkeyServer, url: str, redis: list[Proxy], database: list[Proxy], chance: random.Random
    ) -> None:
        self.server, self.url, self.redis, self.database, self.chance = server, url, redis, database, chance
        self.external: dict[str, str] = {}
        """The marks of the external writer, and under which id each was met."""
        self.made: Counter[str] = Counter()
        self.losses: list[tuple[float, str | None]] = []
        self.started = time.monotonic()

    def run(self, seconds: float) -> None:
        faults: list[Callable[[], None]] = [
            self.redis_killed_and_restarted_empty,
            self.redis_killed_and_restarted_from_a_snapshot,
            self.redis_frozen,
            self.keys_evicted,
            self.redis_flushed,
            self.redis_out_of_one_processs_reach,
            self.database_out_of_one_processs_reach,
            self.database_away,
            self.redis_and_database_away,
            self.publish_answers_lost,
            self.external_writes,
        ]
        for fault in itertools.chain.from_iterable(self.chance.sample(faults, len(faults)) for _ in itertools.count()):
            if time.monotonic() > self.started + seconds - 2:
                return
            fault()
            self.made[fault.__name__.replace("_", " ").replace("processs", "process's")] += 1
            time.sleep(self.chance.uniform(0.1, 0.8))

    def last(self) -> None:
        """How long a fault lasts."""
        time.sleep(self.chance.uniform(0.1, 1.5))

    def lost(self, name: str | None = None) -> None:
        self.losses.append((time.monotonic(), name))

    def redis_killed_and_restarted_empty(self) -> None:
        self.server.kill()
        (self.server.directory / "dump.rdb").unlink(missing_ok=True)
        self.last()
        self.server.start()
        self.lost()

    def redis_killed_and_restarted_from_a_snapshot(self) -> None:
        with self.server.client(socket_timeout=5) as client:
            client.save()
        self.last()
        self.server.kill()
        self.server.start()
        self.lost()

    def redis_frozen(self) -> None:
        self.server.pause()
        self.last()
        self.server.resume()

    def keys_evicted(self) -> None:
        for _ in range(20):
            with self.server.client(socket_timeout=5) as client:
                client.delete(session_key(self.some_name()))
            time.sleep(0.02)
        self.lost()

    def redis_flushed(self) -> None:
        self.server.flush()
        self.lost()

    def redis_out_of_one_processs_reach(self) -> None:
        self.away([self.chance.choice(self.redis)])

    def database_out_of_one_processs_reach(self) -> None:
        self.away([self.chance.choice(self.database)])

    def database_away(self) -> None:
        self.away(self.database)

    def redis_and_database_away(self) -> None:
        self.away([*self.redis, *self.database])

    def away(self, proxies: list[Proxy]) -> None:
        for proxy in proxies:
            proxy.refuse()
        self.last()
        for proxy in proxies:
            proxy.restore()

    def publish_answers_lost(self) -> None:
        for proxy in self.redis:
            proxy.lose_reply_to(b"EVALSHA")
        self.last()
        for proxy in self.redis:
            proxy.restore()

    def external_writes(self) -> None:
        with (
            CheckoutStore.open(_settings(self.server.port, self.url)) as store,
            self.server.client(socket_timeout=5) as client,
        ):
            for number in range(10):
                program, name = ExternalWriter(self, client, keeps_header=number % 2 == 0), self.some_name()
                seen = program.find(name)
                if seen is None:
                    continue
                time.sleep(self.chance.uniform(0, 0.02))  # others write meanwhile, and it does not know
                program.write(seen, name)
                self.lost(name)  # what Redis alone had, it may have overwritten
                perform(store, Order("get", name))
                time.sleep(0.02)

    def new_mark(self, of: str) -> str:
        return f"{of}{len(self.external)}"

    def note_external(self, mark: str, checkout_id: str) -> None:
        self.external[mark] = checkout_id

    def some_name(self) -> str:
        age = time.monotonic() - self.started
        return f"shopper-{int(age / SESSIONS_LIVE):04d}-{self.chance.randrange(SESSIONS_AT_ONCE)}"


@contextlib.contextmanager
def shop(
    processes: int, seconds: float, seed: int, mode: str = "database"
) -> Iterator[tuple[ValkeyServer, str, list[Any], Injector]]:
    """The servers, and processes that wait for the start, each with proxies of its own."""
    spawning = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="checkoutctl-faults-"))
        server = stack.enter_context(ValkeyServer(Path(directory) / "server"))
        postgres = PostgresServer()
        postgres.start()
        stack.callback(postgres.stop)
        url = postgres.create_database()
        with CheckoutStore.open(_settings(server.port, url)) as store:
            store.database.create_schema()
        pipes, redis, database = [], [], []
        for number in range(processes):
            redis.append(stack.enter_context(Proxy((HOST, server.port))))
            through = stack.enter_context(proxied(url))
            database.append(through.proxy)
            ours, theirs = spawning.Pipe()
            writes_behind = mode == "write-behind" or (mode == "mixed" and number % 2 == 0)
            settings = _settings(redis[-1].port, through.proxied_url, "redis" if writes_behind else "database")
            process = spawning.Process(target=work, args=(theirs, number, settings, seconds, seed + number))
            process.start()
            stack.callback(process.join)
            stack.callback(process.terminate)
            pipes.append(ours)
        for pipe in pipes:
            assert pipe.recv() == "ready"
        yield server, url, pipes, Injector(server, url, redis, database, random.Random(seed))


def _settings(redis_port: int, database_url: str, durability: str = "database") -> Settings:
    return Settings(
        redis_host=HOST,
        redis_port=redis_port,
        database_url=database_url,
        timeout=0.25,
        database_timeout=0.5,
        durability=durability,
    )


def main() -> None:
    """Run, judge, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", choices=MODES, default="database")
    asked = parser.parse_args()
    with shop(asked.processes, asked.seconds, asked.seed, asked.mode) as (server, url, pipes, injector):
        injector.started = time.monotonic()
        for pipe in pipes:
            pipe.send(injector.started)
        injector.run(asked.seconds)
        calls = sorted(itertools.chain.from_iterable(pipe.recv() for pipe in pipes), key=lambda call: call.ended)
        verdicts, conflicts, gone = judge(calls, injector, _settings(server.port, url))
    show(calls, injector, verdicts, conflicts, gone, asked)


def judge(calls: list[Call], injector: Injector, settings: Settings) -> tuple[list[str], int, int]:
    """How the history contradicts itself or the database's content in the end; the number of conflicts, and of writes
    acknowledged by Redis alone that are nowhere: Redis has lost them, or else that is a contradiction, too."""
    history = History(settings.trust)
    for moment, name in injector.losses:
        history.lost_by_redis(moment, name)
    for call in calls:
        if call.kind == "delete":
            history.attempted_deletion(call.checkout_id, call.began)
    verdicts = [f"{call.checkout_id}: {verdict}" for call in calls if (verdict := history.add(call)) is not None]
    with CheckoutStore.open(settings) as auditor:
        report = synchronize(auditor)
        assert report.finished, report
        assert not report.unreachable, report
        in_the_end = {name: kept(auditor, name) for name in {call.checkout_id for call in calls}}
        verdicts += history.reckon({name: found for name, (found, _) in in_the_end.items()})
        for mark, name in injector.external.items():
            found, fields = in_the_end[name]
            if found.marks is not None and mark not in fields:  # a deleted session took it along
                verdicts.append(f"{name}: lost: {mark} of an external writer is neither in the database nor a conflict")
        gone = sum(
            call.durability == "redis" and call.mark != "" and _is_gone(call.mark, *in_the_end[call.checkout_id])
            for call in calls
            if not call.error
        )
        return verdicts, auditor.flush_log.conflict_count(), gone


def _is_gone(mark: str, found: Kept, everywhere: set[str]) -> bool:
    return found.marks is not None and mark not in everywhere


def kept(auditor: CheckoutStore, name: str) -> tuple[Kept, set[str]]:
    """What the database has of a session in the end; and all fields that its row and its conflicts have."""
    row = auditor.database.read(name)
    conflicts = [each.fields or {} for each in auditor.flush_log.conflicts(100_000) if each.checkout_id == name]
    lost = tuple(_content(fields) for fields in conflicts)
    if row is None or row.body is None:
        return Kept(None if row is None else row.version, None, "", lost), set().union(*conflicts)
    fields = decode(row.body)
    return Kept(row.version, *_content(fields), lost), set(fields).union(*conflicts)


def _content(fields: Mapping[str, Any]) -> tuple[frozenset[str], str]:
    return frozenset(name for name in fields if name.startswith("mark")), str(fields.get("paymentStatus"))


def show(
    calls: list[Call], injector: Injector, verdicts: list[str], conflicts: int, gone: int, asked: argparse.Namespace
) -> None:
    """Print the figures, and the violations if there are any."""
    answered = [call for call in calls if not call.error]
    reads = [call for call in answered if call.kind in READS]
    writes = [call for call in answered if call.kind not in READS]
    refused = Counter(call.error for call in calls if call.error)
    durabilities = Counter(call.durability or "deletions" for call in writes)
    tiers = Counter(call.tier + ("" if call.verified else ", not verified") for call in reads)
    slowest = max(call.ended - call.began for call in calls)
    stale = sum("stale" in verdict or "deleted" in verdict or "paid" in verdict for verdict in verdicts)
    lost = sum("lost" in verdict for verdict in verdicts)
    rows = {
        "processes": f"{asked.processes}, for {asked.seconds:g} s, seed {asked.seed}, mode {asked.mode}",
        "reads": f"{len(reads):,}   {_listed(tiers)}",
        "writes": f"{len(writes):,}   {_listed(durabilities)}",
        "no answer": f"{sum(refused.values()):,}   {_listed(refused)}",
        "slowest call": f"{slowest:.2f} s",
        "faults": f"{sum(injector.made.values())}   {_listed(injector.made)}",
        "stale": str(stale),
        "lost": str(lost),
        "lost by Redis": f"{gone}   acknowledged by Redis alone, of which it lost the only copy",
        "other violations": str(len(verdicts) - stale - lost),
        "external writes": f"{len(injector.external)}   each met at once by a process of ours",
        "conflicts": f"{conflicts}   both contents are kept",
    }
    for name, text in rows.items():
        print(f"{name:<18}{text}")
    for verdict in verdicts[:10]:
        print("  ", verdict)
    if verdicts:
        tell([call for call in calls if verdicts[0].startswith(f"{call.checkout_id}:")])


def tell(calls: list[Call]) -> None:
    """The story of one session, for who has to find out what happened."""
    for call in calls:
        answer = call.error or f"v{call.version} {call.status} {call.tier} {call.durability} {len(call.marks)} marks"
        doubt = "" if call.verified or call.error else ", not verified"
        print(f"    {call.ended:.3f} {call.process} {call.kind:<7}{call.mark:<10}{answer}{doubt}")


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counter.most_common())


if __name__ == "__main__":
    main()

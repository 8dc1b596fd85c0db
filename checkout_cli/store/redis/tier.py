"""The Redis tier: published copies of sessions, one round trip a read.

All traffic goes through :meth:`RedisTier.exchange`, to one server, or to those of a cluster that have the keys.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CheckoutError,
    CommandDenied,
    CommandUnknown,
    RedisInsufficient,
    RedisUnavailable,
    WrongKeyType,
)
from checkout_cli.keys import PENDING, claim_key, is_accepted_id, session_key
from checkout_cli.store.protocol import value as values
from checkout_cli.store.protocol.deleting import proof_of
from checkout_cli.store.protocol.publishing import Move, Outcome, Publication
from checkout_cli.store.records import Problem, Record
from checkout_cli.store.redis.cluster import RedisCluster
from checkout_cli.store.redis.commands import Command, Script, checked, encoded, pairs, register
from checkout_cli.store.redis.index_place import IndexChange, IndexPlace
from checkout_cli.store.redis.opened import LARGEST_VALUE, Look, Opened, Replaced, opened_with
from checkout_cli.store.redis.portions import portions
from checkout_cli.store.redis.replies import array, either, integer, nothing, replaced, text
from checkout_cli.store.redis.requirements import Requirements
from checkout_cli.store.redis.server import RedisServer

FILL_TIME = 10_000
"""For how long a fill claim holds, in milliseconds (ARCHITECTURE.md, point 2)."""

_CLAIM, _PUBLISH = (
    register(Script("claim", reply=either(array(text), array(nothing, integer)))),
    register(Script("publish", reply=replaced)),
)
DISCARD, _EXTEND_TTL = register(Script("discard")), register(Script("extend_ttl"))
KEEP_TTL = -1
"""Leaves a key's time to live as it is."""


class RedisTier:
    """Sessions in Redis. Thread-safe. Every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    def __init__(
        self,
        settings: Settings,
        *,
        elapsed: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        tokens: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.is_cluster = settings.is_cluster
        kind = RedisCluster if self.is_cluster else RedisServer
        self._servers: RedisServer | RedisCluster = kind(settings, elapsed=elapsed, jitter=jitter)
        self.breaker = self._servers.breaker
        self.index_place = IndexPlace(self.ask_all, max_age=settings.session_max_age, is_cluster=self.is_cluster)
        self.requirements = Requirements(self._server_of, elapsed)
        self._tokens = tokens
        self._ttl = int(settings.session_ttl * 1000)

    def close(self) -> None:
        """Close all connections."""
        self._servers.close()

    # Who answers

    def identity(self, checkout_id: str) -> bytes | None:
        """The identity of the server that has a session's key; ``None`` where it does not tell."""
        identity, _ = self.exchange(("EXISTS", encoded(session_key(checkout_id))))
        return identity

    def last_identity(self, checkout_id: str) -> bytes | None:
        """That server's identity when it last answered, without asking it."""
        return self._server_of(checkout_id).identity

    def _server_of(self, checkout_id: str) -> RedisServer:
        return self._servers.server_of(encoded(session_key(checkout_id)))

    def servers(self) -> list[RedisServer]:
        """All servers that have keys: one, or a cluster's primaries."""
        return self._servers.members()

    # The protocol (ARCHITECTURE.md)

    def open(self, checkout_id: str) -> Opened:
        """Read a session and grant it the full TTL again; where it is missing, take a fill claim.

        Raises ``RedisInsufficient`` where the server lacks what sessions need.
        """
        return self._first(self._open, checkout_id)

    def claim(self, checkout_id: str) -> Opened:
        """*open* where the key is expected to be missing: straight to the script."""
        return self._first(self._claim, checkout_id)

    def _first(self, step: Callable[[str], Opened], checkout_id: str) -> Opened:
        """The first step of an operation, over a server that has what sessions need."""
        self.requirements.insist(checkout_id)
        try:
            opened = step(checkout_id)
        except (CommandDenied, CommandUnknown) as refusal:
            self.requirements.refused(checkout_id)
            raise RedisInsufficient(str(refusal)) from refusal
        if opened.problem is None:  # else nothing tells which server it was
            self.requirements.check(checkout_id, opened.identity)
        return opened

    def _open(self, checkout_id: str) -> Opened:
        try:
            identity, (raw,) = self.exchange(("GETEX", encoded(session_key(checkout_id)), "PX", self._ttl))
        except WrongKeyType:
            return Opened(None, None, problem=Problem.WRONG_TYPE)
        return self._claim(checkout_id) if raw is None else opened_with(raw, identity)

    def _claim(self, checkout_id: str) -> Opened:
        if not is_accepted_id(checkout_id):  # no row can be there to fill it from
            identity, (raw,) = self.exchange(
                ("GETEX", encoded(session_key(checkout_id)), "PX", self._ttl), lenient=True
            )
            return self._claimed(identity, b"", raw if isinstance(raw, CheckoutError) else [raw, 0])
        token = self._tokens().encode()
        identity, (reply,) = self.exchange(self._claiming(checkout_id, token), lenient=True)
        return self._claimed(identity, token, reply)

    def _claiming(self, checkout_id: str, token: bytes) -> Command:
        keys = [encoded(session_key(checkout_id)), encoded(claim_key(checkout_id))]
        return _CLAIM.call_on(keys, token, self._ttl, FILL_TIME)

    def publish(
        self, record: Record, opened: Opened, now: int, *, accounted: bytes | None = None
    ) -> tuple[Outcome, Opened]:
        """Put a version into Redis at ``now`` (ms), over the server of ``opened``, unless something newer is there.

        ``accounted`` are bytes that the database has accounted for in this operation. Returns the outcome, and the
        value there.
        """
        publication = Publication(record.row, opened.identity, opened.found, accounted)
        reply = self.with_index(*self._publishing(record, opened, now, publication), opened)
        return self._published(record, opened, now, publication, reply)

    def publish_all(
        self, some: Sequence[tuple[Record, Opened]], now: int, *, accounted: bool = False
    ) -> list[tuple[Outcome, Opened]]:
        """:meth:`publish` for many that one server answered, in one round trip; not for a cluster: slots may move.

        ``accounted``: the database has accounted for the bytes of each, which stay for as long as they would have.
        """
        if not some:
            return []
        publications = [
            Publication(record.row, opened.identity, opened.found, opened.raw if accounted else None)
            for record, opened in some
        ]
        ttl = KEEP_TTL if accounted else None
        pairs = [self._publishing(*each, now, one, ttl) for each, one in zip(some, publications, strict=True)]
        results: list[tuple[Outcome, Opened]] = []
        replies = self.with_index_all(pairs, some[0][1].identity)
        for (record, opened), publication, reply in zip(some, publications, replies, strict=True):
            if isinstance(reply, WrongKeyType):
                results.append((Outcome.EXTERNAL, Opened(None, opened.identity, problem=Problem.WRONG_TYPE)))
                continue
            results.append(self._published(record, opened, now, publication, checked(reply)))
        return results

    def _published(
        self, record: Record, opened: Opened, now: int, publication: Publication, reply: Any
    ) -> tuple[Outcome, Opened]:
        while True:
            replaced = _replaced(reply)
            if replaced.done or replaced.present is None:
                return Outcome.SET if replaced.done else Outcome.MISSING, opened.now_with(None)
            opened = opened.now_with(replaced.present)
            if opened.found is None:
                return Outcome.EXTERNAL, opened
            publication = publication.refused(opened.found)
            outcome = publication.next()
            if isinstance(outcome, Outcome):
                return outcome, opened
            reply = self.with_index(*self._publishing(record, opened, now, publication), opened)

    def _publishing(
        self, record: Record, opened: Opened, now: int, publication: Publication, ttl: int | None = None
    ) -> tuple[Command, IndexChange]:
        """The script that a publication sends next, and its change of the index; ``ttl`` is another than the row's."""
        index = IndexChange(record.checkout_id, None if record.body is None else record.expires_at)
        new = b"" if record.body is None else values.encode(record.version, opened.identity, record.body)
        ttl = max(record.expires_at - now, 1) if ttl is None else ttl
        seen, move = publication.seen, publication.next()
        if move is Move.SWAP and seen is not None:
            entry = "remove" if seen.value.is_dirty and not seen.value.is_external else "keep"
            return self._replacing(record.checkout_id, "swap", seen.raw, new, ttl, entry), index
        token = opened.token if move is Move.FILL else b""  # without a token, the script only looks
        return self._replacing(record.checkout_id, "fill", token, new, ttl, "keep"), index

    def swap(
        self,
        checkout_id: str,
        opened: Opened,
        new: bytes,
        *,
        now: int,
        expires_at: int,
        dirty: bool,
        enters: bool = True,
    ) -> Replaced:
        """Put ``new`` in the place of what was opened, over the very same server; moments are in milliseconds.

        ``dirty``: its id is entered among the pending; ``enters``: its end into the index.
        """
        ttl, entry = max(expires_at - now, 1), "add" if dirty else "keep"
        how, expected = ("fill", opened.token) if opened.raw is None else ("swap", opened.raw)
        script = self._replacing(checkout_id, how, expected, new, ttl, entry)
        change = IndexChange(checkout_id, expires_at) if enters else None
        return _replaced(self.with_index(script, change, opened))

    def rewrite(self, checkout_id: str, opened: Opened, new: bytes) -> Replaced:
        """Put other bytes of the same version in the place of what was opened; its TTL and index entry stay."""
        script = self._replacing(checkout_id, "swap", opened.raw or b"", new, KEEP_TTL, "keep")
        _, (reply,) = self.exchange(script, identity=opened.identity, bound=True)
        return _replaced(reply)

    def _replacing(self, checkout_id: str, how: str, expected: bytes, new: bytes, ttl: int, entry: str) -> Command:
        keys = [encoded(session_key(checkout_id)), encoded(claim_key(checkout_id))]
        if entry != "keep" and not self.is_cluster:
            keys.append(PENDING.encode())
        return _PUBLISH.call_on(keys, how, expected, new, ttl, encoded(checkout_id), entry)

    def with_index(self, script: Command, change: IndexChange | None, opened: Opened) -> Any:
        """A script's reply, sent with its change of the index, if any, over the very server that answered *open*."""
        if change is None:
            _, (reply,) = self.exchange(script, identity=opened.identity, bound=True)
            return reply
        (outcome,) = self.with_index_all([(script, change)], opened.identity)
        return checked(outcome)

    def with_index_all(self, some: Sequence[tuple[Command, IndexChange]], identity: bytes | None) -> list[Any]:
        """:meth:`with_index` for many scripts in one round trip to one server; errors stay among the replies."""
        parts = [(script, self.index_place.entering(change)) for script, change in some]
        commands = [command for script, entering in parts for command in (script, *entering.commands)]
        _, replies = self.exchange(*commands, identity=identity, bound=True, lenient=True)
        outcomes, left = [], iter(replies)
        for _, entering in parts:
            outcome, *entered = islice(left, 1 + len(entering.commands))
            if not isinstance(outcome, CheckoutError):
                self.index_place.check(entering, entered)
            outcomes.append(outcome)
        return outcomes

    def claim_all(self, checkout_ids: Sequence[str]) -> dict[str, Opened]:
        """:meth:`claim` for many keys, in one round trip; in a cluster one after the other, as slots may move."""
        if self.is_cluster or not checkout_ids:
            return {name: self.claim(name) for name in checkout_ids}
        tokens = [self._tokens().encode() for _ in checkout_ids]
        calls = [self._claiming(name, token) for name, token in zip(checkout_ids, tokens, strict=True)]
        identity, replies = self.exchange(*calls, lenient=True)
        return {
            name: self._claimed(identity, token, reply)
            for name, token, reply in zip(checkout_ids, tokens, replies, strict=True)
        }

    @staticmethod
    def _claimed(identity: bytes | None, token: bytes, reply: Any) -> Opened:
        if isinstance(reply, WrongKeyType):
            return Opened(None, None, problem=Problem.WRONG_TYPE)
        raw, *is_claimed = checked(reply)
        return opened_with(raw, identity, token if is_claimed == [1] else b"")

    def release(self, checkout_id: str, opened: Opened) -> None:
        """Release our fill claim, and no other."""
        self.ask(DISCARD.call(encoded(claim_key(checkout_id)), opened.token))

    def discard(self, checkout_id: str, raw: bytes) -> bool:
        """Delete a key without a row, and its index entry, if it still holds exactly these bytes."""
        if not self.ask(DISCARD.call(encoded(session_key(checkout_id)), raw)):
            return False
        entering = self.index_place.entering(IndexChange(checkout_id, None))
        if entering.commands:
            self.index_place.check(entering, self.ask_all(*entering.commands, lenient=True))
        return True

    def remove(self, checkout_id: str) -> bool:
        """Delete the key and its index entry, whatever is there; for sessions without a row."""
        entering = self.index_place.entering(IndexChange(checkout_id, None))
        deletion: Command = ("DEL", encoded(session_key(checkout_id)))
        deleted, *entered = self.ask_all(deletion, *entering.commands, lenient=True)
        checked(deleted)
        self.index_place.check(entering, entered)
        return bool(deleted)

    def extend_ttl(self, checkout_id: str, milliseconds: int) -> int:
        """Let a key live at least so long from now; never shorter. Returns its TTL (ms; -2: no session, -1: no end)."""
        return int(self.ask(_EXTEND_TTL.call(encoded(session_key(checkout_id)), milliseconds)))

    def proof(self, checkout_id: str, identity: bytes | None) -> str:
        """A text that stays the same as long as no key is evicted or flushed; empty where that cannot be told."""
        server = self._servers.server_of(encoded(session_key(checkout_id)))
        try:
            who, (stats, commands) = server.exchange([("INFO", "stats"), ("INFO", "commandstats")])
        except RedisUnavailable:
            return ""
        if who is None or who != identity or not isinstance(stats, bytes) or not isinstance(commands, bytes):
            return ""
        return proof_of(who, stats, commands)

    # Looking; nothing here extends a life

    def look(self, checkout_ids: Sequence[str]) -> list[Look]:
        """The value at each id's key, at most ``LARGEST_VALUE`` of it, in two round trips; nothing is extended."""
        keys = [encoded(session_key(checkout_id)) for checkout_id in checkout_ids]
        if not keys:
            return []
        measures = self.ask_all(
            *(command for key in keys for command in (("STRLEN", key), ("PTTL", key))), lenient=True
        )
        found = pairs(measures)
        contents = self.contents(keys, [size for size, _ in found])
        return [self._looked(size, ttl, value) for (size, ttl), value in zip(found, contents, strict=True)]

    def contents(self, keys: Sequence[bytes], sizes: Sequence[Any]) -> list[Any]:
        """The values of keys of known sizes, and errors among them; ``None`` for what is no session by its size.

        One round trip never asks for more than ``MOST_AT_ONCE`` bytes.
        """
        found: dict[bytes, Any] = {}
        for some in portions([(key, size) for key, size in zip(keys, sizes, strict=True) if _fetchable(size)]):
            found.update(zip(some, self.ask_all(*(("GET", key) for key in some), lenient=True), strict=True))
        return [found.get(key) for key in keys]

    def _looked(self, size: Any, ttl: Any, value: Any) -> Look:
        lifetime = None if isinstance(ttl, CheckoutError) or ttl < 0 else int(ttl)
        for reply in (size, value):
            if isinstance(reply, WrongKeyType):
                return Look(None, lifetime, 0, Problem.WRONG_TYPE, "not a string")
            if self.is_cluster and isinstance(reply, RedisUnavailable):
                return Look(None, None, 0, Problem.UNREACHABLE, str(reply))
            checked(reply)
        if size > LARGEST_VALUE:
            return Look(None, lifetime, size, Problem.TOO_LARGE, f"{size:,} bytes")
        if size == 0 and ttl != -2:
            return Look(b"", lifetime, 0, copy=values.decode(b""))  # something is there, and it is empty: no session
        if value is None:
            return Look(None, None, 0)
        return Look(value, lifetime, len(value), copy=values.decode(value))

    # Traffic

    def ask(self, command: Command) -> Any:
        """One command's reply; raises its error."""
        _, (reply,) = self.exchange(command)
        return reply

    def ask_all(self, *commands: Command, lenient: bool = False) -> list[Any]:
        """Several commands in one round trip; ``lenient`` leaves their errors among the replies."""
        _, replies = self.exchange(*commands, lenient=lenient)
        return replies if lenient else list(map(checked, replies))

    def exchange(
        self, *commands: Command, identity: bytes | None = None, bound: bool = False, lenient: bool = False
    ) -> tuple[bytes | None, list[Any]]:
        """Send commands in one round trip to each server that has one of their keys.

        Returns the identity of the server of the first, and the replies; one command's error is raised unless
        ``lenient``. ``bound`` insists on the server of ``identity`` for the first command.
        """
        who, replies = self._servers.exchange(commands, identity, bound=bound)
        if len(replies) == 1 and not lenient:
            checked(replies[0])
        return who, replies


def _replaced(reply: Any) -> Replaced:
    done, *rest = reply
    return Replaced(bool(done), rest[0] if rest else None)


def _fetchable(size: Any) -> bool:
    return isinstance(size, int) and 0 < size <= LARGEST_VALUE

"""The Redis tier: published copies of sessions, one round trip a read.

It knows the protocol's scripts and nothing of the other tiers. All traffic goes through :meth:`RedisTier.exchange`,
where it is bounded, logged, translated and counted by the breaker.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import msgspec
import redis

from checkout_cli.errors import CheckoutError, RedisPoolExhausted, RedisRefusing, RedisUnavailable, WrongKeyType
from checkout_cli.keys import INDEX, LEGACY_INDEX, LEGACY_STATS, PENDING, lock_key, session_key
from checkout_cli.session import TierName
from checkout_cli.settings import Settings
from checkout_cli.store import stamped
from checkout_cli.store.breaker import Breaker
from checkout_cli.store.records import Problem, Record
from checkout_cli.store.redis_connection import connection_pool, identity_over, translated

FILL_TIME = 10_000
"""For how long a fill marker holds, in milliseconds (DESIGN section 5, point 2)."""
LARGEST_VALUE = 1024 * 1024
"""The largest value that an operator's look fetches, in bytes; our own sessions end at a quarter of it."""

KEYS_AT_ONCE = 1000
"""Keys in one command: a fraction of a millisecond of Redis' time."""

Command = tuple[bytes | str | int | float, ...]

_log = logging.getLogger("checkout_cli.redis")


class Script:
    """One of the ``.lua`` files: constant text, called by its digest."""

    def __init__(self, name: str) -> None:
        """``name`` is the file's, without its ending."""
        self.text = files("checkout_cli.store").joinpath("scripts", f"{name}.lua").read_bytes()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def call(self, key: bytes, *arguments: bytes | str | int | float) -> Command:
        """The command that runs it on one key."""
        return ("EVALSHA", self.digest, 1, key, *arguments)

    def call_pending(self, key: bytes, *arguments: bytes | str | int | float) -> Command:
        """The command that runs it on a session's key and ``checkout:pending`` together."""
        return ("EVALSHA", self.digest, 2, key, PENDING, *arguments)


_OPEN, _PUBLISH, _RELEASE = Script("open"), Script("publish"), Script("release")
_DISCARD, _EXTEND = Script("discard"), Script("extend")
_SCRIPTS = {script.digest: script for script in (_OPEN, _PUBLISH, _RELEASE, _DISCARD, _EXTEND)}


class Opened(msgspec.Struct, frozen=True):
    """What *open* found: the value, if any, on which server, and our claim to fill the key if there is none.

    ``copy`` is the value as the store wrote it; ``None`` with a value means that another program did.
    """

    value: bytes | None
    identity: bytes | None
    token: bytes = b""
    problem: Problem | None = None
    copy: stamped.Stamped | None = None

    @property
    def found_something(self) -> bool:
        """Whether anything but a claim lies at the key."""
        return self.value is not None or self.problem is not None

    @property
    def is_foreign(self) -> bool:
        """Whether another program wrote what lies at the key, or changed what we had written."""
        return self.value is not None and (self.copy is None or not self.copy.intact)

    @property
    def undrained(self) -> tuple[str, ...]:
        """The writes in the value that the database lacks."""
        return self.copy.undrained if self.copy is not None else ()

    @property
    def standing(self) -> stamped.Stamped | None:
        """The copy, if it was stamped for this very server and nobody has changed it since."""
        copy = self.copy
        return copy if copy is not None and copy.intact and copy.identity == self.identity else None


class Look(msgspec.Struct, frozen=True):
    """What lies at a session's key. ``ttl`` is in milliseconds, ``None`` for a key without one."""

    value: bytes | None
    ttl: int | None
    size: int
    problem: Problem | None = None
    detail: str = ""


def encoded(text: str) -> bytes:
    """Text as the bytes that are in Redis, also where a foreign program's were not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def decoded(raw: bytes) -> str:
    """The reverse of :func:`encoded`."""
    return raw.decode("utf-8", "surrogateescape")


class RedisTier:
    """Sessions in Redis. Thread-safe. Every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    name = TierName.REDIS

    def __init__(
        self,
        settings: Settings,
        *,
        breaker: Breaker | None = None,
        pool: redis.ConnectionPool | None = None,
        tokens: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Connects to nothing yet; ``tokens`` names our fill markers."""
        self._settings = settings
        self._pool = pool or connection_pool(settings)
        self._tokens = tokens
        self._ttl = int(settings.session_ttl * 1000)
        # A connect, its handshake and an answer, each as long as a hanging server can make them.
        self.breaker = breaker or Breaker(time.monotonic, longest_try=3 * settings.timeout)

    def close(self) -> None:
        """Close all connections."""
        self._pool.disconnect()

    def identity(self) -> bytes | None:
        """Who the server is; ``None`` where it does not tell."""
        identity, _ = self.exchange(("PING",))
        return identity

    def look_again(self) -> bytes | None:
        """Who the server is now: a replica is promoted under its open connections.

        Where that has happened, the connections are made anew, since each knows only who its server was.
        """
        self.breaker.check()
        try:
            connection: Any = self._pool.get_connection()
            try:
                known, now = connection.identity, identity_over(connection)
            except BaseException:
                connection.disconnect()
                raise
            finally:
                self._pool.release(connection)
        except (redis.RedisError, OSError) as error:
            failure = translated(error, self._settings)
            self._note(failure)
            raise failure from error
        if now != known:
            self._pool.disconnect(inuse_connections=False)
        return now

    def ping(self) -> float:
        """One round trip, in seconds."""
        started = time.perf_counter()
        self.ask(("PING",))
        return time.perf_counter() - started

    # The protocol (DESIGN section 5)

    def open(self, checkout_id: str) -> Opened:
        """Read a session and grant it the full TTL again; where it is missing, claim the right to fill the key."""
        key = encoded(session_key(checkout_id))
        try:
            identity, (value,) = self.exchange(("GETEX", key, "PX", self._ttl))
        except WrongKeyType:
            return Opened(None, None, problem=Problem.WRONG_TYPE)
        if value is not None and not value.startswith(stamped.FILL_MARKER):
            return Opened(value, identity, copy=stamped.decode(value))
        return self.claim(checkout_id)

    def claim(self, checkout_id: str) -> Opened:
        """*open* where the key is expected to be missing: straight to the script."""
        token = self._tokens().encode()
        key = encoded(session_key(checkout_id))
        try:
            identity, (reply,) = self.exchange(_OPEN.call(key, token, self._ttl, FILL_TIME))
        except WrongKeyType:
            return Opened(None, None, problem=Problem.WRONG_TYPE)
        if reply[0] is None:
            return Opened(None, identity, token if reply[1] else b"")
        return Opened(reply[0], identity, copy=stamped.decode(reply[0]))

    def publish(
        self, record: Record, opened: Opened, now: int, *, make_way: bool = True, also: Sequence[Command] = ()
    ) -> str:
        """Put a version where it belongs, unless something newer is there; a tombstone deletes.

        ``opened`` is the operation's first step: a publish goes to the very server that answered it, or it has failed.
        ``now`` is the time in milliseconds; with ``make_way`` off, a legacy index stays where it is. Returns ``set``,
        ``missing``, ``newer``, ``undrained`` or ``cleared``; what goes ``also`` may fail unheard.
        """
        key = encoded(session_key(record.checkout_id))
        member = encoded(record.checkout_id)
        if record.body is None:
            value, stamp, ttl = b"", b"", 0
            index: Command = ("ZREM", INDEX, member)
        else:
            value, stamp = stamped.encode(record.version, opened.identity, record.body)
            ttl = max(record.expires_at - now, 1)
            index = ("ZADD", INDEX, "GT", record.expires_at, member)
        script = _PUBLISH.call(key, record.version, stamp, opened.token, value, ttl)
        return str(self.with_index(script, index, opened, make_way=make_way, also=also).decode())

    def with_index(
        self, script: Command, index: Command, opened: Opened, *, make_way: bool = True, also: Sequence[Command] = ()
    ) -> Any:
        """A script's reply, its change of the index sent along, both over the very server that answered *open*.

        What goes ``also`` may fail unheard: a denied or foreign key of the statistics is no reason to fail a write.
        """
        _, (outcome, indexed, *others) = self.exchange(script, index, *also, identity=opened.identity, bound=True)
        for reply in others:
            if isinstance(reply, redis.RedisError):
                _log.debug("not counted: %s", reply)
        self._raise(outcome)
        if isinstance(indexed, redis.RedisError) and (make_way or not str(indexed).startswith("WRONGTYPE")):
            self._make_way(indexed, index)
        return outcome

    def _make_way(self, error: redis.RedisError, index: Command) -> None:
        """A legacy SET is where the index belongs: move it aside, which is atomic, and enter the session after all.

        A clean-up moves its members over. Where something else is there, the session stays without an entry.
        """
        if not str(error).startswith("WRONGTYPE"):
            self._raise(error)
        if self.ask(("TYPE", INDEX)) == b"set" and self.ask(("RENAMENX", INDEX, LEGACY_INDEX)):
            self.ask(index)

    def release(self, checkout_id: str, opened: Opened) -> None:
        """Take our claim to fill the key back, and leave alone whatever else may be there by now."""
        self.ask(_RELEASE.call(encoded(session_key(checkout_id)), opened.token))

    def discard(self, checkout_id: str, value: bytes) -> bool:
        """Delete the key if it still holds exactly ``value``."""
        return bool(self.ask(_DISCARD.call(encoded(session_key(checkout_id)), value)))

    def remove(self, checkout_id: str) -> bool:
        """Delete the key and its index entry, whatever is there; for sessions that no database row stands behind."""
        deleted, _ = self.ask_all(
            ("DEL", encoded(session_key(checkout_id))), ("ZREM", INDEX, encoded(checkout_id)), lenient=True
        )
        self._raise(deleted)
        return bool(deleted)

    # What operators see; nothing here extends a life

    def look(self, checkout_ids: Sequence[str]) -> list[Look]:
        """What lies at each id's key, in two round trips, and never more than ``LARGEST_VALUE`` of it."""
        keys = [encoded(session_key(checkout_id)) for checkout_id in checkout_ids]
        if not keys:
            return []
        measures = self.ask_all(
            *(command for key in keys for command in (("STRLEN", key), ("PTTL", key))), lenient=True
        )
        pairs = list(zip(measures[::2], measures[1::2], strict=True))
        wanted = [key for key, (size, _) in zip(keys, pairs, strict=True) if _fetchable(size)]
        values = iter(self.ask_all(*(("GET", key) for key in wanted), lenient=True) if wanted else [])
        return [self._looked(size, ttl, next(values) if _fetchable(size) else None) for size, ttl in pairs]

    def _looked(self, size: Any, ttl: Any, value: Any) -> Look:
        lifetime = None if isinstance(ttl, redis.RedisError) or ttl < 0 else int(ttl)
        for reply in (size, value):
            if isinstance(reply, redis.RedisError):
                if str(reply).startswith("WRONGTYPE"):
                    return Look(None, lifetime, 0, Problem.WRONG_TYPE, "not a string")
                self._raise(reply)
        if size > LARGEST_VALUE:
            return Look(None, lifetime, size, Problem.TOO_LARGE, f"{size:,} bytes")
        if size == 0 and ttl != -2:
            return Look(b"", lifetime, 0)  # something is there, and it is empty: no session
        if value is None or value.startswith(stamped.FILL_MARKER):
            return Look(None, None, 0)
        return Look(value, lifetime, len(value))

    def remaining(self, checkout_ids: Sequence[str]) -> list[int]:
        """The real time to live of each key in milliseconds; -2 where there is none, -1 where it has no end."""
        keys = [encoded(session_key(checkout_id)) for checkout_id in checkout_ids]
        parts = [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]
        counts: list[Command] = [("EXISTS", *part) for part in parts]
        present = self.ask_all(*counts) if counts else []
        if not any(present):
            return [-2] * len(keys)  # the usual case in a clean-up, told by a few small commands
        return [int(ttl) for ttl in self.ask_all(*(("PTTL", key) for key in keys))]

    def legacy_statistics(self) -> dict[str, int] | None:
        """The counters of the shop's older programs, or ``None`` where they keep none."""
        if self.ask(("TYPE", LEGACY_STATS)) != b"hash":
            return None
        raw = self.ask(("HGETALL", LEGACY_STATS))
        pairs = zip(raw[::2], raw[1::2], strict=True)
        return {decoded(name): int(value) for name, value in pairs if value.isdigit()}

    def time(self) -> int:
        """The server's own clock, in milliseconds since the epoch."""
        seconds, microseconds = self.ask(("TIME",))
        return int(seconds) * 1000 + int(microseconds) // 1000

    # Locks

    def lock(self, job: str, owner: str, milliseconds: int) -> str | None:
        """Take the lock of a job; ``None`` where it is ours now, else who has it."""
        key = lock_key(job)
        taken, holder = self.ask_all(("SET", key, encoded(owner), "NX", "PX", milliseconds), ("GET", key))
        return None if taken else decoded(holder or b"somebody who has just finished")

    def extend_lock(self, job: str, owner: str, milliseconds: int) -> bool:
        """Keep the lock for longer; false where it is no longer ours."""
        return bool(self.ask(_EXTEND.call(encoded(lock_key(job)), encoded(owner), milliseconds)))

    def unlock(self, job: str, owner: str) -> None:
        """Give the lock back, if it is still ours."""
        self.ask(_DISCARD.call(encoded(lock_key(job)), encoded(owner)))

    # Traffic

    def ask(self, command: Command) -> Any:
        """One command's reply, its error raised."""
        _, (reply,) = self.exchange(command)
        self._raise(reply)
        return reply

    def ask_all(self, *commands: Command, lenient: bool = False) -> list[Any]:
        """Several commands in one round trip; ``lenient`` leaves their errors among the replies."""
        _, replies = self.exchange(*commands)
        if not lenient:
            for reply in replies:
                self._raise(reply)
        return replies

    def exchange(
        self, *commands: Command, identity: bytes | None = None, bound: bool = False
    ) -> tuple[bytes | None, list[Any]]:
        """Send commands in one round trip over one connection.

        Returns the identity of the server behind it, and the replies; with one command its error is raised, with
        several they stay among the replies. ``bound`` insists on the server of ``identity``.

        Raises:
            RedisUnavailable: the breaker is open, nothing answered in time, or another server answers there now.
        """
        self.breaker.check()
        started = time.perf_counter()
        try:
            server, replies = self._exchange(commands, identity, bound)
        except (redis.RedisError, OSError) as error:
            failure = translated(error, self._settings)
            self._trace(commands, started, type(failure).__name__)
            self._note(failure)
            raise failure from error
        self.breaker.succeeded()
        self._trace(commands, started, "ok")
        if len(replies) == 1:
            self._raise(replies[0])
        return server, replies

    def _exchange(
        self, commands: Sequence[Command], identity: bytes | None, bound: bool
    ) -> tuple[bytes | None, list[Any]]:
        connection: Any = self._pool.get_connection()
        try:
            if bound:
                _insist(connection, identity)
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies = [_reply(connection) for _ in commands]
            if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
                replies = self._with_scripts(connection, commands)
            server: bytes | None = connection.identity  # now: once released, another thread may reconnect it
        except RedisUnavailable:
            raise
        except BaseException:
            connection.disconnect()  # a reply may still be under way; nobody must take it for theirs
            raise
        finally:
            self._pool.release(connection)
        return server, replies

    def _with_scripts(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        """The server does not know a script yet (it is new, or was restarted): teach it, and send all again."""
        unknown = {command[1] for command in commands if command[0] == "EVALSHA"}
        for digest in unknown:
            connection.send_command("SCRIPT", "LOAD", _SCRIPTS[str(digest)].text)
            connection.read_response()
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        return [_reply(connection) for _ in commands]

    def _raise(self, reply: Any) -> None:
        if isinstance(reply, redis.RedisError):
            failure = translated(reply, self._settings)
            self._note(failure)
            raise failure from reply

    def _note(self, failure: CheckoutError) -> None:
        if not isinstance(failure, RedisUnavailable):
            self.breaker.succeeded()  # a refusal is an answer
        elif not isinstance(failure, (RedisRefusing, RedisPoolExhausted)):
            self.breaker.failed(failure)

    def _trace(self, commands: Sequence[Command], started: float, outcome: str) -> None:
        if not _log.isEnabledFor(logging.DEBUG):
            return
        duration = (time.perf_counter() - started) * 1000
        for command in commands:
            operation = {
                "command": str(command[0]),
                "key": _shortened(command),
                "duration_ms": round(duration, 3),
                "outcome": outcome,
                "tier": str(self.name),
            }
            _log.debug("%(command)s %(key)s %(duration_ms)s ms %(outcome)s", operation, extra={"operation": operation})


def _insist(connection: Any, identity: bytes | None) -> None:
    if connection.identity != identity:
        raise RedisUnavailable("another server answers at Redis' address than when this write began")


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:  # the answer to this command only; the others still come
        return error


def _fetchable(size: Any) -> bool:
    return isinstance(size, int) and 0 < size <= LARGEST_VALUE


def _shortened(command: Command) -> str:
    """The key of a command with all but the start of an id left out: whoever knows an id can use the session."""
    position = 3 if command[0] == "EVALSHA" else 1
    if len(command) <= position or command[0] in {"INFO", "SCRIPT"}:
        return ""
    key = command[position]
    text = decoded(key) if isinstance(key, bytes) else str(key)
    prefix, colon, name = text.rpartition(":")
    return f"{prefix}{colon}{name[:8]}…" if len(name) > 8 else text


def register(script: Script) -> Script:
    """Let :meth:`RedisTier.exchange` load a script that lives in another file."""
    _SCRIPTS[script.digest] = script
    return script

"""Operators' questions to Redis: servers, keys, locks. The protocol needs none of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from checkout_cli.errors import RedisUnavailable, WrongKeyType
from checkout_cli.keys import LEGACY_STATS, lock_key, session_key
from checkout_cli.store.protocol import value as values
from checkout_cli.store.redis.commands import Command, Script, checked, decoded, encoded, pairs, register
from checkout_cli.store.redis.questions import KeyQuestions
from checkout_cli.store.redis.server import RedisServer
from checkout_cli.store.redis.tier import DISCARD, RedisTier

FIRST_CURSOR = "0"
KEYS_AT_ONCE = 1000
"""Keys in one command: a fraction of a millisecond of Redis' time."""
LONGEST_HEADER = 512
"""Bytes at the beginning of a value that tell a header of ours; a longer one is looked at whole."""
LARGEST_NOTE = 4096
"""Bytes of what a job notes: a heartbeat, or who holds a lock."""
UNKNOWN_TTL = -3
"""Stands for a key's time to live where nobody can tell it."""

_COUNTER = re.compile(rb"[0-9]{1,18}")

_EXTEND_LOCK, _SET_MISSING_TTL = register(Script("extend_lock")), register(Script("set_missing_ttl"))


_T = TypeVar("_T")


def pages(step: Callable[[str], tuple[_T, str | None]]) -> Iterator[_T]:
    """All pages of something; ``step`` returns the page of a cursor, and the next cursor (``None``: the end)."""
    cursor: str | None = FIRST_CURSOR
    while cursor is not None:
        page, cursor = step(cursor)
        yield page


def next_cursor(following: bytes) -> str | None:
    """The cursor that Redis returned; ``None`` at the end."""
    return None if following == b"0" else following.decode()


class RedisAdmin(RedisTier, KeyQuestions):
    """The tier with operators' questions. Every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    def identities(self, checkout_ids: Sequence[str]) -> dict[str, bytes | None]:
        """:meth:`identity` of many sessions, one round trip per server, without those of unavailable servers."""
        servers = {name: self._servers.server_of(encoded(session_key(name))) for name in checkout_ids}
        found = _answers(set(servers.values()), RedisServer.identify)
        return {name: found[server] for name, server in servers.items() if server in found}

    def place_of(self, checkout_id: str) -> str:
        """The address of the server that has a session."""
        return self._servers.server_of(encoded(session_key(checkout_id))).place

    def missing_servers(self) -> list[str]:
        """The addresses of a cluster's servers that did not answer last time, while others do."""
        if not self.is_cluster or self.breaker.is_open:
            return []
        return [server.place for server in self._servers.members() if server.breaker.is_open]

    def ping(self) -> float:
        """One round trip in seconds, in a cluster the longest; raises ``RedisUnavailable`` if no server answers."""

        def round_trip(server: RedisServer) -> float:
            started = time.perf_counter()
            server.ask(("PING",))
            return time.perf_counter() - started

        return max(_answers(self.servers(), round_trip).values())

    def time(self) -> int:
        """The server's own clock, in milliseconds since the epoch."""
        seconds, microseconds = self.ask(("TIME",))
        return int(seconds) * 1000 + int(microseconds) // 1000

    # Sessions

    def not_ours(self, checkout_ids: Sequence[str]) -> list[str]:
        """The ids whose first bytes an external writer wrote; changes behind the header are found by the next read."""
        if not checkout_ids:
            return []
        keys = [encoded(session_key(checkout_id)) for checkout_id in checkout_ids]
        beginnings = self.replies(*(("GETRANGE", key, 0, LONGEST_HEADER - 1) for key in keys))
        return [
            name
            for name, beginning in zip(checkout_ids, beginnings, strict=True)
            if isinstance(beginning, bytes) and beginning and not values.looks_like_ours(beginning)
        ]

    def remaining(self, checkout_ids: Sequence[str]) -> list[int]:
        """The TTL of each key in milliseconds; -2: no key, -1: no end, ``UNKNOWN_TTL``: its server is unavailable."""
        keys = [encoded(session_key(checkout_id)) for checkout_id in checkout_ids]
        if self.is_cluster:  # one command for many keys would be one for many servers
            replies = self.ttls(keys)
            if not self.breaker.is_open and not all(server.breaker.is_open for server in self._servers.members()):
                replies = [UNKNOWN_TTL if isinstance(reply, RedisUnavailable) else reply for reply in replies]
            return list(map(checked, replies))
        parts = [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]
        counts: list[Command] = [("EXISTS", *part) for part in parts]
        present = self.ask_all(*counts) if counts else []
        if not any(present):
            return [-2] * len(keys)  # the usual case in a clean-up, told by a few small commands
        return [int(ttl) for ttl in self.ask_all(*(("PTTL", key) for key in keys))]

    def copying(self, checkout_id: str, seen: bytes | None, value: bytes, ttl: int) -> Command:
        """The script that puts another server's value in the place of ``seen``; ``ttl`` is in ms (0: no end)."""
        how = "create" if seen is None else "swap"
        return self._replacing(checkout_id, how, seen or b"", value, ttl, "keep")

    def set_missing_ttl(self, checkout_id: str, milliseconds: int) -> bool:
        """Give a session without end a TTL; false where it has one."""
        return bool(self.ask(_SET_MISSING_TTL.call(encoded(session_key(checkout_id)), milliseconds)))

    # Keys

    def replies(self, *commands: Command) -> list[Any]:
        """The replies to commands, errors among them as ``CheckoutError``."""
        return self.ask_all(*commands, lenient=True)

    def info(self, *sections: str, value_of: str) -> list[Any]:
        """Sections of INFO, and last the value of a string, in one round trip; errors stay among the replies."""
        return self.replies(*(("INFO", section) for section in sections), _note(value_of))

    def value(self, key: str) -> bytes | None:
        """The beginning of a string, which is all of a note of ours; ``None`` for a missing key."""
        return self.ask(_note(key)) or None

    def put(self, key: str, value: bytes, milliseconds: int) -> None:
        """Set a string with a TTL."""
        self.ask(("SET", key, value, "PX", milliseconds))

    def are_all_there(self, keys: Sequence[bytes]) -> bool:
        """Whether none of many keys is missing, in one command; false where no command reaches all of them."""
        return not self.is_cluster and self.ask(("EXISTS", *keys)) == len(keys)

    def write_and_read(self, key: str, value: str, milliseconds: int) -> Any:
        """Set, read and delete a key as a proof; returns what was read."""
        return self.ask_all(("SET", key, value, "PX", milliseconds), ("GET", key), ("DEL", key))[1]

    def sessions_values(self, checkout_ids: Sequence[str]) -> list[Any]:
        """The values of sessions; ``None``, or an error, for a key that holds no string, or too long a one."""
        keys = [encoded(session_key(checkout_id)) for checkout_id in checkout_ids]
        return self.contents(keys, self.lengths(keys))

    def scan(self, pattern: str, count: int) -> Iterator[list[bytes]]:
        """Keys by a glob-style pattern, page by page, from every server that answers; some may come twice."""
        return pages(lambda cursor: self.scan_step(pattern, cursor, count))

    def scan_step(self, pattern: str, cursor: str, count: int) -> tuple[list[bytes], str | None]:
        """One page of :meth:`scan`, and the cursor of the next one, in a cluster with the server's place."""
        servers = sorted(self.servers(), key=lambda server: server.place)
        at, _, position = cursor.rpartition("-")
        away: RedisUnavailable | None = None
        for number in range(int(at or 0), len(servers)):
            command: Command = ("SCAN", position, "MATCH", encoded(pattern), "COUNT", count)
            try:
                following, keys = servers[number].ask(command)
            except RedisUnavailable as error:
                away, position = error, "0"
                continue
            if following != b"0":
                return keys, f"{number}-{following.decode()}" if self.is_cluster else following.decode()
            return keys, f"{number + 1}-0" if number + 1 < len(servers) else None
        if away is not None and not (self.is_cluster and at):
            raise away
        return [], None

    # Statistics of older programs

    def legacy_statistics(self) -> dict[str, int] | None:
        """The counters of the shop's older programs; ``None`` where they keep none."""
        if self.ask(("TYPE", LEGACY_STATS)) != b"hash":
            return None
        (reply,) = self.hashes([LEGACY_STATS])
        counters = [] if isinstance(reply, WrongKeyType) else pairs(checked(reply))
        return {decoded(name): int(value) for name, value in counters if _COUNTER.fullmatch(value)}

    # Locks

    def lock(self, job: str, owner: str, milliseconds: int) -> str | None:
        """Take the lock of a job; returns its present owner, or ``None`` where it is ours now."""
        key = lock_key(job)
        taken, holder = self.ask_all(("SET", key, encoded(owner), "NX", "PX", milliseconds), _note(key))
        return None if taken else decoded(holder or b"somebody who has just finished")

    def lock_state(self, job: str) -> tuple[int, bytes | None]:
        """The TTL (ms; -1: no end, -2: no lock) and the owner of a job's lock; ``WrongKeyType`` if it is no lock."""
        ttl, holder = self.ask_all(("PTTL", lock_key(job)), _note(lock_key(job)))
        return int(ttl), holder or None

    def extend_lock(self, job: str, owner: str, milliseconds: int) -> bool:
        """Keep the lock for longer; false where it is no longer ours."""
        return bool(self.ask(_EXTEND_LOCK.call(encoded(lock_key(job)), encoded(owner), milliseconds)))

    def unlock(self, job: str, owner: str) -> None:
        """Release the lock, if it is still ours."""
        self.ask(DISCARD.call(encoded(lock_key(job)), encoded(owner)))


def _note(key: str) -> Command:
    """What a job has noted in a string; another program's may be of any size."""
    return ("GETRANGE", key, 0, LARGEST_NOTE - 1)


def _answers(servers: Iterable[RedisServer], ask: Callable[[RedisServer], _T]) -> dict[RedisServer, _T]:
    """The answers of those servers that are available; raises ``RedisUnavailable`` if none is."""
    found: dict[RedisServer, _T] = {}
    away: RedisUnavailable | None = None
    for server in servers:
        try:
            found[server] = ask(server)
        except RedisUnavailable as error:
            away = error
    if away is not None and not found:
        raise away
    return found

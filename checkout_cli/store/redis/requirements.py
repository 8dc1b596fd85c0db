"""What the store needs of a Redis server, and what a server lacks of it, with the consequence.

Neither a version nor ``COMMAND INFO`` tells that: providers remove commands, ACL rules deny them, and other engines
list what they do not run. So each command is called once, in a form that changes nothing, in one round trip.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from checkout_cli.errors import CommandDenied, CommandUnknown, RedisInsufficient, RedisRefusing, RedisUnavailable
from checkout_cli.keys import INDEX, PENDING, claim_key, minute_key, session_key
from checkout_cli.store.after_fork import in_each_child
from checkout_cli.store.redis.commands import Command, Script, register
from checkout_cli.store.redis.server import RedisServer

AGAIN_AFTER = 10.0
"""Seconds after which a server that lacked something is asked again: a grant takes effect without a new connection."""
MOST_IDENTITIES = 100
"""Servers whose requirements are known to be met; restarts make new ones."""

SESSIONS = "every read and write of a session goes to the database"
FLUSHES = "a write that only Redis has would not reach the database by itself, so the database takes each write"
INDEXED = "new sessions are missing in the index: lists, counts and clean-ups do not see them"
UNTRUSTED = "nothing there is trusted, and the database answers every read"
UNCOUNTED = "statistics are not counted"
TIMELESS = "no cache can be invalidated, and no clean-up can compare clocks"

_NO_ID = "~"
"""No id that a session of ours can have."""
_SESSION, _CLAIM, _MINUTE = session_key(_NO_ID), claim_key(_NO_ID), f"{minute_key(0)}{_NO_ID}"
_SCRIPT = register(Script("discard"))


class Requirement(NamedTuple):
    """A command that the store sends, a call of it that changes nothing, and the consequence of doing without."""

    command: str
    consequence: str
    call: Command


REQUIREMENTS = (
    Requirement("GETEX", SESSIONS, ("GETEX", _SESSION)),
    Requirement("SCRIPT LOAD", SESSIONS, ("SCRIPT", "LOAD", _SCRIPT.text)),
    Requirement("EVALSHA", SESSIONS, _SCRIPT.call(_SESSION.encode(), "nothing")),
    Requirement("GET", SESSIONS, ("GET", _SESSION)),
    Requirement("SET", SESSIONS, ("SET", _CLAIM, "", "XX")),
    Requirement("DEL", SESSIONS, ("DEL", _CLAIM)),
    Requirement("SREM", FLUSHES, ("SREM", PENDING, _NO_ID)),
    Requirement("SRANDMEMBER", FLUSHES, ("SRANDMEMBER", PENDING, 1)),
    Requirement("EXISTS", FLUSHES, ("EXISTS", _SESSION)),
    Requirement("STRLEN", FLUSHES, ("STRLEN", _SESSION)),
    Requirement("PTTL", FLUSHES, ("PTTL", _SESSION)),
    Requirement("TYPE", INDEXED, ("TYPE", INDEX)),
    Requirement("ZRANGE", INDEXED, ("ZRANGE", INDEX, 0, 0)),
    Requirement("ZADD", INDEXED, ("ZADD", INDEX, "XX", 0, _NO_ID)),
    Requirement("ZREM", INDEXED, ("ZREM", INDEX, _NO_ID)),
    Requirement("HINCRBY", UNCOUNTED, ("HINCRBY", _MINUTE, _NO_ID, "no-number")),
    Requirement("PEXPIRE", UNCOUNTED, ("PEXPIRE", _MINUTE, 1000)),
    Requirement("TIME", TIMELESS, ("TIME",)),
)
NEEDED = ("INFO", *(each.command for each in REQUIREMENTS))
"""The names of all that the store needs; INFO tells the server's identity, and every connection begins with it."""
_TELLING = ("GET", "GETEX", "EVALSHA")
"""Commands that tell a user who only looks: GET is granted and the others are not, by command or by key."""

_log = logging.getLogger("checkout_cli.store")


@dataclass(frozen=True)
class Lack:
    """A requirement that a server does not meet, and how that showed: ``unknown``, ``denied`` or ``not told``."""

    JSON_KEYS = "command reason consequence"

    command: str
    consequence: str
    reason: str
    grant: str = ""

    def __str__(self) -> str:
        said = {
            "unknown": f"{self.command} is unknown to this server",
            "denied": f"{self.command} is denied to this user (ACL)",
            "not told": "its identity is not told (INFO: run_id, master_replid)",
        }
        return said[self.reason]


def told(lacks: Iterable[Lack]) -> str:
    """All lacks in words, each consequence once."""
    by_consequence: dict[str, list[str]] = {}
    for lack in lacks:
        by_consequence.setdefault(lack.consequence, []).append(str(lack))
    return "; ".join(f"{', '.join(its)}: {consequence}" for consequence, its in by_consequence.items())


def prevent_sessions(lacks: Iterable[Lack]) -> bool:
    """Whether the store keeps no session in a Redis that lacks these."""
    return any(lack.consequence == SESSIONS for lack in lacks)


def prevent_trust(lacks: Iterable[Lack]) -> bool:
    """Whether no read is answered by a Redis that lacks these."""
    return any(lack.consequence in {SESSIONS, UNTRUSTED} for lack in lacks)


def concerns_caches(lack: Lack) -> bool:
    """Whether delivery charges and coupons, too, miss it."""
    return lack.consequence in {UNTRUSTED, TIMELESS}


def lacks_of(server: RedisServer) -> tuple[Lack, ...]:
    """What a server lacks, asked in one round trip; nothing is changed there. Raises ``RedisUnavailable``."""
    identity, replies = _asked(server, REQUIREMENTS)
    found = () if identity is not None else (_no_identity(server),)
    return (*found, *_lacks(server, replies))


def lacks_unless_reader(server: RedisServer) -> tuple[Lack, ...] | None:
    """:func:`lacks_of`, or ``None`` for a user who only looks: what the shop's own user may do stays unknown then.

    Such a user is asked no more than shows that: the server notes each denial in its log.
    """
    telling = [each for each in REQUIREMENTS if each.command in _TELLING]
    identity, replies = _asked(server, telling)
    of = dict(zip((each.command for each in telling), replies, strict=True))
    if (
        _is_denied(of["GETEX"], "+getex")
        and _is_denied(of["EVALSHA"], "+evalsha")
        and not _is_denied(of["GET"], "+get")
    ):
        return None if identity is not None else (_no_identity(server),)
    return lacks_of(server)


def _no_identity(server: RedisServer) -> Lack:
    """Why the server does not tell its identity."""
    _, (reply,) = server.send([("INFO", "server")])
    answer = server.explained(reply)
    if isinstance(answer, CommandDenied):
        return Lack("INFO", UNTRUSTED, "denied", "+info")
    return Lack("INFO", UNTRUSTED, "unknown" if isinstance(answer, CommandUnknown) else "not told")


def _is_denied(reply: Any, grant: str) -> bool:
    """Whether a command was denied itself, or its key, and not another command that a script uses."""
    return isinstance(reply, CommandDenied) and reply.grant in {"", grant}


def _asked(server: RedisServer, requirements: Sequence[Requirement]) -> tuple[bytes | None, list[Any]]:
    """The replies, errors among them. In a cluster most keys are another server's, so no error closes this one off."""
    identity, replies = server.send([each.call for each in requirements])
    return identity, list(map(server.explained, replies))


def _lacks(server: RedisServer, replies: Sequence[Any]) -> list[Lack]:
    """Any other error, as a cluster's redirection or a full memory, comes from a server that knows and allows it."""
    lacks = []
    for each, reply in zip(REQUIREMENTS, replies, strict=True):
        if isinstance(reply, CommandDenied):
            lacks.append(Lack(each.command, each.consequence, "denied", reply.grant))
        elif isinstance(reply, CommandUnknown):
            lacks.append(Lack(each.command, each.consequence, "unknown"))
        elif isinstance(reply, RedisUnavailable) and not isinstance(reply, RedisRefusing) and not server.is_cluster:
            raise reply
    named = {lack.command for lack in lacks} & {"SCRIPT LOAD", "GET"}
    # The script's reply is the refusal of its loading, or of its GET, and those are named already.
    return [lack for lack in lacks if not (lack.command == "EVALSHA" and named)]


class Requirements:
    """What one store's servers lack, as far as it has used them. Thread-safe. ``elapsed`` counts seconds.

    A server is asked after its first answer to the store, after each restart, when it has refused something as unknown
    or denied, and now and then while it lacks something.
    """

    def __init__(self, server_of: Callable[[str], RedisServer], elapsed: Callable[[], float]) -> None:
        self._server_of = server_of
        self._elapsed = elapsed
        self._begin_anew()
        self._met: set[bytes | None] = set()
        self._lacking: dict[str, tuple[Lack, ...]] = {}
        self._again_at: dict[str, float] = {}

        in_each_child(self, Requirements._begin_anew)

    def _begin_anew(self) -> None:
        """Another thread of the parent may hold the lock; what is known of the servers stays true."""
        self._lock = threading.Lock()

    @property
    def allow_flushes(self) -> bool:
        """Whether no server is known to lack what brings to the database the writes that only Redis has."""
        return not any(lack.consequence == FLUSHES for lacks in list(self._lacking.values()) for lack in lacks)

    def insist(self, checkout_id: str) -> None:
        """Raise ``RedisInsufficient`` where the session's server was found to lack what sessions need, for a while."""
        if not self._lacking:
            return
        server = self._server_of(checkout_id)
        if not self._is_due(server):
            _refuse(server, self._lacking.get(server.place, ()))

    def check(self, checkout_id: str, identity: bytes | None) -> None:
        """Ask the server that has just answered, unless it is known; raises as :meth:`insist`, ``RedisUnavailable``."""
        if identity in self._met:
            return
        server = self._server_of(checkout_id)
        if self._is_due(server) or server.place not in self._lacking:
            self._ask(server, identity)
        _refuse(server, self._lacking.get(server.place, ()))

    def refused(self, checkout_id: str) -> None:
        """A command was unknown or denied: find out what else is, but not for every such command."""
        server = self._server_of(checkout_id)
        if self._is_due(server):
            self._ask(server, server.identity)

    def _is_due(self, server: RedisServer) -> bool:
        return self._elapsed() >= self._again_at.get(server.place, float("-inf"))

    def _ask(self, server: RedisServer, identity: bytes | None) -> None:
        self._again_at[server.place] = self._elapsed() + AGAIN_AFTER
        lacks = lacks_of(server)
        with self._lock:
            before = self._lacking.pop(server.place, ())
            if len(self._met) >= MOST_IDENTITIES:
                self._met.clear()
            if lacks:
                self._lacking[server.place] = lacks
                self._met.discard(identity)
            else:
                self._met.add(identity)
        if lacks and lacks != before:
            _log.error("Redis at %s does not give the store what it needs: %s", server.place, told(lacks))
        elif before and not lacks:
            _log.warning("Redis at %s gives the store what it needs again", server.place)


def _refuse(server: RedisServer, lacks: Sequence[Lack]) -> None:
    if prevent_sessions(lacks):
        raise RedisInsufficient(f"Redis at {server.place} does not give the store what it needs: {told(lacks)}")

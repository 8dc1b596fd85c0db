"""What the user that we are may do in Redis, found out without doing it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkout_cli.commands.acl.needs import Access, Entry, Need, Needs
from checkout_cli.commands.acl.roles import NEWEST, ROLES, Role, RoleName, grants
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, ExitCode
from checkout_cli.servers.inspection import Inspector
from checkout_cli.servers.per_server import of_each_server
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import Command
from checkout_cli.store.redis.pipeline import Conversation
from checkout_cli.store.redis.server import RedisServer

FIRST_WITH_USERS = (6, 0)

_SAMPLES = {
    "config|get": "CONFIG GET maxmemory",
    "config|set": "CONFIG SET maxmemory-policy noeviction",
    "evalsha": "EVALSHA 0000000000000000000000000000000000000000 1 {key}",  # the digest of no script
    "info": "INFO server",
    "scan": "SCAN 0 COUNT 1",
    "script|load": "SCRIPT LOAD )",  # no Lua
    "select": "SELECT {database}",
    "slowlog|get": "SLOWLOG GET 1",
    "client|no-touch": "CLIENT NO-TOUCH OFF",
    "latency|history": "LATENCY HISTORY command",
    "getrange": "GETRANGE {key} 0 0",
    "hget": "HGET {key} x",
    "hincrby": "HINCRBY {key} x none",
    "hmget": "HMGET {key} x",
    "hset": "HSET {key} x x",
    "hsetnx": "HSETNX {key} x x",
    "pexpire": "PEXPIRE {key} none",
    "rename": "RENAME {key} {key}",
    "sadd": "SADD {key} x",
    "set": "SET {key} x XX",
    "smismember": "SMISMEMBER {key} x",
    "srem": "SREM {key} x",
    "sscan": "SSCAN {key} 0 COUNT 1",
    "zscan": "ZSCAN {key} 0 COUNT 1",
    "zadd": "ZADD {key} XX none x",
    "zcount": "ZCOUNT {key} 0 0",
    "zmscore": "ZMSCORE {key} x",
    "zrange": "ZRANGE {key} 0 0",
    "zrem": "ZREM {key} x",
    "zremrangebyrank": "ZREMRANGEBYRANK {key} 1 0",
    "zrevrank": "ZREVRANK {key} x",
    "zscore": "ZSCORE {key} x",
}
"""How a command is called, where that is more than its name and a key."""
_MULTI, _DISCARD = Need("multi"), Need("discard")
_NEVER_RUN = frozenset({"monitor", "multi", "discard", "asking", "select", "script|load"})
"""Commands without a key that change something, if only in our own connection."""
_ADMIN = ("acl|", "config|set", "config|rewrite", "slowlog|reset")


class Way(StrEnum):
    """How it was found out: by a transaction that is dropped, or by trying what only looks."""

    TRANSACTION = "transaction"
    TRIAL = "trial"


class State(StrEnum):
    """How far a command of ``checkoutctl`` works for this user."""

    WORKS = "works"
    PARTLY = "partly"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Capability:
    """One command of ``checkoutctl``, and what it lacks, as parts of an ACL rule.

    Without what is ``missing`` it fails, without what is ``reduced`` it says less. Of what is ``untold`` nobody knows.
    """

    SHOWN = "command=name state missing reduced unknown=untold"

    name: str
    missing: tuple[str, ...] = ()
    reduced: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """Whether it works."""
        if self.missing:
            return State.FAILS
        if self.untold:
            return State.UNKNOWN
        return State.PARTLY if self.reduced else State.WORKS


@dataclass(frozen=True)
class Capabilities:
    """What a user may do of what a role may.

    ``missing`` are the parts of a rule that are not granted. ``absent`` are commands of Redis that the server does not
    have, whoever asks. ``version`` is that of Redis, ``None`` where INFO is denied. ``away`` are servers of a cluster
    that could not be asked.
    """

    SHOWN = (
        "user role=role.name complete method=way commands missing setuser=repair absent usersSupported=has_users "
        "partial missingServers=away"
    )

    user: str
    role: Role
    way: Way
    commands: tuple[Capability, ...]
    missing: tuple[str, ...]
    absent: tuple[str, ...] = ()
    version: tuple[int, int] | None = None
    away: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all commands of the role work in full, as far as the server has what they need."""
        return not self.away and all(command.state is State.WORKS for command in self.commands)

    @property
    def exit_code(self) -> ExitCode:
        """A finding where the role is not complete."""
        return ExitCode.OK if self.complete else ExitCode.FINDING

    @property
    def repair(self) -> str | None:
        """The line that an administrator would type; ``None`` where nothing is missing."""
        return " ".join(("ACL SETUSER", self.user, *self.missing)) if self.missing else None

    @property
    def partial(self) -> bool:
        """Whether some servers could not be asked."""
        return bool(self.away)

    @property
    def has_users(self) -> bool:
        """Whether the server knows users at all: before Redis 6 everybody may do everything."""
        return self.version is None or self.version >= FIRST_WITH_USERS


@dataclass
class _Told:
    """What servers have answered: by command, by key, not at all, or that they have no such command."""

    denied: set[Need]
    keys_denied: set[Need]
    absent: set[Need]
    allowed: set[Need]

    def note(self, need: Need, reply: object) -> None:
        """Any other refusal than for want of permission comes after that was looked at."""
        if isinstance(reply, CommandDenied):
            (self.denied if reply.grant else self.keys_denied).add(need)
        else:
            (self.absent if isinstance(reply, CommandUnknown) else self.allowed).add(need)

    def untold(self, needs: Iterable[Need]) -> Needs:
        """Of some needs, those of which nobody has said anything."""
        return frozenset(needs) - self.denied - self.keys_denied - self.absent - self.allowed

    def lacking(self, needs: Iterable[Need], version: tuple[int, int]) -> tuple[str, ...]:
        """What is not granted of some needs. Where a command is denied, its keys may be granted all the same."""
        some = set(needs)
        keys = some & self.keys_denied | {need for need in some & self.denied if need.keys and not self._reaches(need)}
        patterns = [part for part in grants(keys, version) if not part.startswith("+")]
        return (*patterns, *(f"+{command}" for command in sorted({need.command for need in some & self.denied})))

    def _reaches(self, denied: Need) -> bool:
        """Whether other commands reach the same keys; that one pattern grants it all is taken for granted."""
        allowed = [need.access for need in self.allowed - self.keys_denied - self.denied if need.keys == denied.keys]
        reached = Access.NONE
        for access in allowed:
            reached |= access
        return bool(allowed) and reached & denied.access == denied.access


def check_access(redis: RedisAdmin, settings: Settings, role: RoleName) -> Capabilities:
    """Find out how far the commands of a role work for the user of the settings; nothing is changed.

    The calls are queued in a transaction: the server refuses at once what is denied, by command and by key, and runs
    nothing, since the transaction is dropped. Where MULTI is denied itself, what only looks is tried on keys that do
    not exist, and the rest stays unknown. In a cluster, every primary has to grant it. The server counts what it
    denies (``errorstat_NOPERM``, ACL LOG).

    Raises:
        RedisUnavailable, AccessDenied: no server can be asked.
    """
    wanted = sorted(ROLES[role].needs(settings))
    told, way, version = _Told(set(), set(), set(), set()), Way.TRANSACTION, None

    def ask(asked: Inspector) -> tuple[Mapping[Need, object], tuple[int, int] | None]:
        answers = _queued(asked.server, wanted, settings)
        if isinstance(answers[_MULTI], CheckoutError):
            answers |= _tried(asked.server, wanted, settings)
        return answers, _version(asked.server)

    found = of_each_server(redis, ask)
    for answers, known_version in found.servers:
        way = Way.TRIAL if isinstance(answers[_MULTI], CheckoutError) else way
        for need, reply in answers.items():
            told.note(need, reply)
        version = version or known_version
    user = settings.redis_username or "default"
    known = version or NEWEST
    return Capabilities(
        user,
        ROLES[role],
        way,
        tuple(_capability(name, entry, told, known) for name, entry in ROLES[role].granted(settings).items()),
        told.lacking(wanted, known),
        tuple(sorted({need.command for need in told.absent})),
        version,
        found.missing,
    )


def _capability(name: str, entry: Entry, told: _Told, version: tuple[int, int]) -> Capability:
    untold = told.untold(entry.everything)
    return Capability(
        name,
        told.lacking(entry.needs, version),
        told.lacking(entry.helps, version),
        tuple(dict.fromkeys(f"+{need.command}" for need in sorted(untold))),
    )


class _StillOpen(Exception):
    """The transaction could not be dropped, so its connection has to be."""


def _queued(server: RedisServer, needs: Sequence[Need], settings: Settings) -> dict[Need, object]:
    """The answers to calls in a transaction that is dropped; MULTI's alone where there are no transactions for us."""
    queued = [need for need in needs if need not in (_MULTI, _DISCARD)]  # these two would end it, and run the rest
    answers: dict[Need, object] = {}
    try:
        with server.conversation() as talk:
            begun = _begun(talk)
            if isinstance(begun, CheckoutError):
                return {_MULTI: begun}
            answers.update(zip(queued, _answered(talk, queued, settings), strict=True))
            (dropped,) = talk.ask(("DISCARD",))
            answers |= {_MULTI: begun, _DISCARD: dropped}
            _insist_on(dropped)
    except _StillOpen:
        pass  # the answers are as good as ever
    return answers


def _answered(talk: Conversation, needs: Sequence[Need], settings: Settings) -> list[Any]:
    """Each call's answer, of whatever shape: only whether it is a denial counts."""
    talk.say(*(_call(need, settings) for need in needs))
    return talk.replies(len(needs))


def _begun(talk: Conversation) -> object:
    """The answer to MULTI; raises the error of a server that cannot answer anything now."""
    (begun,) = talk.ask(("MULTI",))
    if isinstance(begun, CheckoutError) and not isinstance(begun, (CommandDenied, CommandUnknown)):
        raise begun
    return begun


def _insist_on(dropped: object) -> None:
    if isinstance(dropped, CheckoutError):
        raise _StillOpen


def _tried(server: RedisServer, needs: Sequence[Need], settings: Settings) -> dict[Need, object]:
    """The answers to real calls of what only looks."""
    harmless = [need for need in needs if _only_looks(need)]
    with server.conversation() as talk:
        return dict(zip(harmless, _answered(talk, harmless, settings), strict=True))


def _only_looks(need: Need) -> bool:
    if need.keys:
        return Access.WRITE not in need.access
    return need.command not in _NEVER_RUN and not need.command.startswith(_ADMIN)


def _call(need: Need, settings: Settings) -> Command:
    """A call of a command, on a key that does not exist where the pattern leaves that open."""
    words = need.command.upper().split("|")
    sample = _SAMPLES.get(need.command, " ".join([*words, "{key}"] if need.keys else words))
    key = need.keys.replace("*", f"acl-check-{secrets.token_hex(8)}")
    return tuple(word.format(key=key, database=settings.redis_db) for word in sample.split())


def _version(server: RedisServer) -> tuple[int, int] | None:
    try:
        text = Inspector(server).info().text("redis_version") or ""
    except (CommandDenied, CommandUnknown):
        return None
    numbers = [int(part) for part in text.split(".")[:2] if part.isdecimal()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None

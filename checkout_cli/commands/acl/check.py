"""What the user that we are may do in Redis, found out without doing it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkout_cli.commands.acl.needs import Access, Entry, Need
from checkout_cli.commands.acl.roles import NEWEST, ROLES, Role, RoleName, grants
from checkout_cli.config.fixes import redis_cli
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, ExitCode
from checkout_cli.servers.inspection import Inspector
from checkout_cli.servers.per_server import Partial, of_each_server
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import Command
from checkout_cli.store.redis.pipeline import Conversation
from checkout_cli.store.redis.server import RedisServer

FIRST_WITH_USERS = (6, 0)

_ARGUMENTS = {
    "CONFIG GET": "maxmemory",
    "CONFIG SET": "maxmemory-policy noeviction",
    "EVALSHA": "0000000000000000000000000000000000000000 1 {key}",  # the digest of no script
    "INFO": "server",
    "SCAN": "0 COUNT 1",
    "SCRIPT LOAD": ")",  # no Lua
    "SELECT": "{database}",
    "SLOWLOG GET": "1",
    "CLIENT NO-TOUCH": "OFF",
    "LATENCY HISTORY": "command",
    "HINCRBY": "{key} x none",
    "PEXPIRE": "{key} none",
    "RENAME": "{key} {key}",
    "SET": "{key} x XX",
    "ZADD": "{key} XX none x",
    "ZREMRANGEBYRANK": "{key} 1 0",
    **dict.fromkeys(
        ["HGET", "HMGET", "SADD", "SMISMEMBER", "SREM", "ZMSCORE", "ZREM", "ZREVRANK", "ZSCORE"], "{key} x"
    ),
    **dict.fromkeys(("HSET", "HSETNX"), "{key} x x"),
    **dict.fromkeys(("GETRANGE", "ZCOUNT", "ZRANGE"), "{key} 0 0"),
    **dict.fromkeys(("SSCAN", "ZSCAN"), "{key} 0 COUNT 1"),
}
"""Of a command that is called with more than a key."""
_MULTI, _DISCARD = Need("multi"), Need("discard")
_NEVER_RUN = frozenset({"monitor", "multi", "discard", "asking", "select", "script|load"})
"""Commands without a key that change something, if only in our own connection."""
_ADMIN = ("acl|", "config|set", "config|rewrite", "slowlog|reset")


class Source(StrEnum):
    """How the answers came: from a transaction that is dropped, or from trying harmless commands."""

    TRANSACTION = "transaction"
    TRIAL = "trial"


class State(StrEnum):
    """Whether a command of ``checkoutctl`` works for this user."""

    WORKS = "works"
    PARTLY = "partly"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Capability:
    """One command of ``checkoutctl``, and the parts of an ACL rule that it lacks.

    Without the ``missing`` it fails, without the ``reduced`` it says less; the ``unknown`` may be granted.
    """

    JSON_KEYS = "command=name state missing reduced unknown"

    name: str
    missing: tuple[str, ...] = ()
    reduced: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """Whether it works."""
        if self.missing:
            return State.FAILS
        if self.unknown:
            return State.UNKNOWN
        return State.PARTLY if self.reduced else State.WORKS


@dataclass(frozen=True)
class Capabilities(Partial):
    """What a user may do of what a role may.

    ``lacking`` are the parts of a rule that are not granted, ``absent`` the commands that the server does not have.
    ``version`` is that of Redis, ``None`` where INFO is denied. ``missing`` are servers of a cluster without an answer.
    ``granting`` is what an administrator types in a shell.
    """

    JSON_KEYS = (
        "user role=role.name complete method=source commands missing=lacking setuser=repair absent "
        "usersSupported=has_users partial missingServers=missing"
    )

    user: str
    role: Role
    source: Source
    commands: tuple[Capability, ...]
    lacking: tuple[str, ...]
    absent: tuple[str, ...] = ()
    version: tuple[int, int] | None = None
    missing: tuple[str, ...] = ()
    granting: str = ""

    @property
    def complete(self) -> bool:
        """Whether all commands of the role work in full, as far as the server has what they need."""
        return not self.missing and all(command.state is State.WORKS for command in self.commands)

    @property
    def exit_code(self) -> ExitCode:
        """A finding where the role is not complete."""
        return ExitCode.OK if self.complete else ExitCode.FINDING

    @property
    def next_step(self) -> str:
        """The administrator's command, where it is known what is lacking."""
        return self.granting if self.lacking else "checkoutctl doctor"

    @property
    def repair(self) -> str | None:
        """The line that an administrator would type; ``None`` where nothing is lacking."""
        return " ".join(("ACL SETUSER", self.user, *self.lacking)) if self.lacking else None

    @property
    def has_users(self) -> bool:
        """Whether the server knows users at all: before Redis 6 everybody may do everything."""
        return self.version is None or self.version >= FIRST_WITH_USERS


class _Answers:
    """The servers' answers: which commands are denied, denied for their keys, absent or allowed."""

    def __init__(self) -> None:
        self.denied: set[Need] = set()
        self.keys_denied: set[Need] = set()
        self.absent: set[Need] = set()
        self.allowed: set[Need] = set()

    def note(self, need: Need, reply: object) -> None:
        if isinstance(reply, CommandDenied):
            (self.denied if reply.grant else self.keys_denied).add(need)
        else:  # permission is checked before anything else can be refused
            (self.absent if isinstance(reply, CommandUnknown) else self.allowed).add(need)

    def capability(self, name: str, entry: Entry, version: tuple[int, int]) -> Capability:
        known = self.denied | self.keys_denied | self.absent | self.allowed
        unknown = dict.fromkeys(f"+{need.command}" for need in sorted(entry.everything - known))
        return Capability(name, self.lacking(entry.needs, version), self.lacking(entry.helps, version), tuple(unknown))

    def lacking(self, needs: Iterable[Need], version: tuple[int, int]) -> tuple[str, ...]:
        """The grants that some needs lack. Where a command is denied, its keys may be granted all the same."""
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
    """Find out which commands of a role work for the user of the settings; nothing is changed.

    The calls are queued in a transaction: the server refuses at once what is denied, by command and by key, and
    runs nothing, since the transaction is dropped. Where MULTI is denied itself, what only looks is tried on keys
    that do not exist, and the rest stays unknown. In a cluster, every primary has to grant it. The server counts
    what it denies (``errorstat_NOPERM``, ACL LOG). Raises ``RedisUnavailable``, ``AccessDenied`` where no server
    can be asked.
    """
    wanted = sorted(ROLES[role].needs(settings))
    answers, source, version = _Answers(), Source.TRANSACTION, None

    def ask(asked: Inspector) -> tuple[Mapping[Need, object], tuple[int, int] | None]:
        replies = _queued(asked.server, wanted, settings)
        if isinstance(replies[_MULTI], CheckoutError):
            replies |= _tried(asked.server, wanted, settings)
        try:
            return replies, asked.info().version()
        except (CommandDenied, CommandUnknown):
            return replies, None

    found = of_each_server(redis, ask)
    for replies, known_version in found.servers:
        source = Source.TRIAL if isinstance(replies[_MULTI], CheckoutError) else source
        for need, reply in replies.items():
            answers.note(need, reply)
        version = version or known_version
    known, user = version or NEWEST, settings.redis_username or "default"
    lacking = answers.lacking(wanted, known)
    return Capabilities(
        user,
        ROLES[role],
        source,
        tuple(answers.capability(name, entry, known) for name, entry in ROLES[role].granted(settings).items()),
        lacking,
        tuple(sorted({need.command for need in answers.absent})),
        version,
        found.missing,
        redis_cli(settings, "ACL", "SETUSER", user, *_first(lacking)),
    )


def _first(lacking: Sequence[str]) -> Sequence[str]:
    """The commands, where some are denied: only with them can it be told which keys they reach.

    A server refuses the whole line for a key pattern that another one covers.
    """
    return [grant for grant in lacking if grant.startswith("+")] or lacking


class _StillOpen(Exception):
    """The transaction could not be dropped, so its connection has to be."""


def _queued(server: RedisServer, needs: Sequence[Need], settings: Settings) -> dict[Need, object]:
    """The replies in a transaction that is dropped; MULTI's alone where we may have none."""
    queued = [need for need in needs if need not in (_MULTI, _DISCARD)]  # these two would end it, and run the rest
    replies: dict[Need, object] = {}
    with suppress(_StillOpen), server.conversation() as talk:
        (begun,) = talk.ask(("MULTI",))
        if isinstance(begun, (CommandDenied, CommandUnknown)):
            return {_MULTI: begun}
        if isinstance(begun, CheckoutError):
            raise begun  # this server cannot answer anything now
        replies |= zip(queued, _answered(talk, queued, settings), strict=True)
        (dropped,) = talk.ask(("DISCARD",))
        replies |= {_MULTI: begun, _DISCARD: dropped}
        if isinstance(dropped, CheckoutError):
            raise _StillOpen  # the replies are as good as ever
    return replies


def _answered(talk: Conversation, needs: Sequence[Need], settings: Settings) -> list[Any]:
    """Each call's reply, of whatever shape: only a denial counts."""
    talk.say(*(_call(need, settings) for need in needs))
    return talk.replies(len(needs))


def _tried(server: RedisServer, needs: Sequence[Need], settings: Settings) -> dict[Need, object]:
    """The replies to real calls of harmless commands."""
    harmless = [need for need in needs if _only_looks(need)]
    with server.conversation() as talk:
        return dict(zip(harmless, _answered(talk, harmless, settings), strict=True))


def _only_looks(need: Need) -> bool:
    if need.keys:
        return Access.WRITE not in need.access
    return need.command not in _NEVER_RUN and not need.command.startswith(_ADMIN)


def _call(need: Need, settings: Settings) -> Command:
    """A call of a command, on a key that does not exist where the pattern leaves that open."""
    name = need.command.upper().replace("|", " ")
    arguments = _ARGUMENTS.get(name, "{key}" if need.keys else "")
    key = need.keys.replace("*", f"acl-check-{secrets.token_hex(8)}")
    return tuple(word.format(key=key, database=settings.redis_db) for word in f"{name} {arguments}".split())

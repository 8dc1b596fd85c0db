"""The words in which a command's record says what it needs of Redis, and what several commands have in common.

That the records are complete, and that no role has more than it must, is proven by running every command as its user.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Flag

from checkout_cli.keys import (
    CLAIM_PREFIX,
    COUPON_PREFIX,
    DELIVERY_PREFIX,
    INDEX,
    INDEX_ASIDE,
    INDEX_BESIDE,
    JOB_PREFIX,
    LEGACY_STATS,
    LOCK_PREFIX,
    MINUTE_PREFIX,
    PENDING,
    SESSION_PREFIX,
    USER_PREFIX,
)


class Access(Flag):
    """What a command does to a key, as key patterns of ACL rules tell it apart (Redis 7.0, ``%R~`` and ``%W~``)."""

    NONE = 0
    READ = 1
    WRITE = 2
    BOTH = 3


SESSIONS, LOCKS, JOBS = f"{SESSION_PREFIX}*", f"{LOCK_PREFIX}*", f"{JOB_PREFIX}*"
CLAIMS = f"{CLAIM_PREFIX}*"
DELIVERY, COUPONS, USERS = f"{DELIVERY_PREFIX}*", f"{COUPON_PREFIX}*", f"{USER_PREFIX}*"
MINUTES = f"{MINUTE_PREFIX}*"
CACHES = (DELIVERY, COUPONS)
OURS = (INDEX, INDEX_BESIDE)
"""Where our index can lie."""
SETS = (INDEX, INDEX_ASIDE)
"""Where an older program's SET can lie."""
ALL = (*(SESSIONS, CLAIMS, *OURS, INDEX_ASIDE, PENDING, LOCKS, JOBS, LEGACY_STATS), *CACHES, USERS, MINUTES)

_ABOUT = "exists hlen memory|usage object|freq object|idletime scard strlen type zcard"
_READING = (
    "get getrange hget hgetall hkeys hmget mget pttl smismember srandmember sscan "
    "zcount zmscore zrandmember zrange zrevrank zscan zscore"
)
_WRITING = "del hset hsetnx pexpire sadd set srem zadd zrem zremrangebyrank"
_BOTH = "evalsha getex hincrby rename"
ACCESS = {
    **dict.fromkeys(_ABOUT.split(), Access.NONE),
    **dict.fromkeys(_READING.split(), Access.READ),
    **dict.fromkeys(_WRITING.split(), Access.WRITE),
    **dict.fromkeys(_BOTH.split(), Access.BOTH),
}
"""Of commands on keys (the servers' own COMMAND GETKEYSANDFLAGS). For those about a key and not its content, a pattern
of any kind will do. A script's keys count as read and written."""

SINCE = {"client|no-touch": (7, 2), "cluster|myshardid": (7, 2)}
"""The version of Redis that has a command first; an older one refuses a rule that names it. Valkey has them all."""

IN_CLUSTER = frozenset({"asking", "cluster|info", "cluster|myshardid", "cluster|slots", "randomkey"})
"""Commands that only a cluster is asked."""
_WITHOUT_KEYS = (
    "acl|list client|list client|no-touch config|get config|rewrite config|set dbsize discard info "
    "latency|doctor latency|history latency|latest monitor multi ping scan script|load select "
    "slowlog|get slowlog|len slowlog|reset time"
)
PLAIN = frozenset(_WITHOUT_KEYS.split()) | IN_CLUSTER
"""Commands that name no key."""


@dataclass(frozen=True, order=True)
class Need:
    """One command of Redis as an ACL rule names it (``config|get``), and the pattern of keys that it is for, if any."""

    command: str
    keys: str = ""

    @property
    def access(self) -> Access:
        """What it does to the keys."""
        return ACCESS[self.command] if self.keys else Access.NONE

    @property
    def known(self) -> bool:
        """Whether the table above has that command, and that pattern of keys."""
        return self.command in ACCESS and self.keys in ALL if self.keys else self.command in PLAIN


Needs = frozenset[Need]


def on(keys: str | Iterable[str], commands: str) -> Needs:
    """Commands on keys, all on all."""
    patterns = [keys] if isinstance(keys, str) else keys
    return frozenset(Need(command, pattern) for pattern in patterns for command in commands.split())


def plain(commands: str) -> Needs:
    """Commands without a key."""
    return frozenset(Need(command) for command in commands.split())


@dataclass(frozen=True)
class Entry:
    """What a command cannot do without, and what it only says less without.

    ``fenced`` is what it needs besides where a replica can be promoted: behind Sentinels, and in a cluster.
    """

    needs: Needs = frozenset()
    helps: Needs = frozenset()
    fenced: Needs = frozenset()

    def __or__(self, other: Entry) -> Entry:
        """What two of them need together."""
        needs = self.needs | other.needs
        return Entry(needs, (self.helps | other.helps) - needs, self.fenced | other.fenced)

    @property
    def everything(self) -> Needs:
        """Both."""
        return self.needs | self.helps


# What several commands have in common. TIME is what our scripts ask the clock.

SCRIPTS = plain("script|load time")
LOOK = on(SESSIONS, "strlen pttl get")
_PLACE = on((*OURS, INDEX_ASIDE), "type") | on(INDEX, "zrange")
LISTED = _PLACE | on(OURS, "zmscore") | on(SETS, "smismember")
MEMBERS = LISTED | on(SETS, "sscan") | on(INDEX_BESIDE, "zscan")
COUNT = MEMBERS | on(OURS, "zcount zrange") | on(SESSIONS, "exists pttl") | plain("scan")
WAITING = on(PENDING, "scard sscan") | LOOK | plain("ping")
LIST = MEMBERS | on(OURS, "zrange zrevrank zscore zcount") | on(SESSIONS, "exists") | WAITING | plain("scan")
LOCK = on(LOCKS, "set get evalsha del pexpire") | SCRIPTS
_OPEN = on(SESSIONS, "getex evalsha get set") | on(CLAIMS, "evalsha get set del") | SCRIPTS
ENTER = _PLACE | on(OURS, "zadd evalsha zrem type sadd srem") | SCRIPTS
PUBLISH = _OPEN | on(SESSIONS, "del") | ENTER
FLUSH = on(PENDING, "evalsha sadd srem")
HAND_OVER = on(PENDING, "srandmember") | on(SESSIONS, "exists") | LOOK | FLUSH
NOTE = on(MINUTES, "evalsha hincrby pexpire") | on(USERS, "evalsha hget hset hsetnx hincrby pexpire")
TRACKED = on(USERS, "type pttl hmget")
READ_CACHE, CHANGE_CACHE = "get getrange strlen pttl", "evalsha get set del"

IDENTITY = plain("info")
"""Who the server is: without it nothing in Redis is trusted, and the database answers."""
STATISTICS = Entry(on(MINUTES, "hgetall"), IDENTITY)
STATUSES = Entry(helps=LOOK | on(SESSIONS, "getrange"))
"""What external writers have written since."""
NOTHING = Entry()

LIBRARY: dict[str, Entry] = {
    "CheckoutStore": Entry(
        PUBLISH | FLUSH | COUNT | on(PENDING, "scard srandmember sscan sadd") | LOOK,
        IDENTITY | plain("ping") | NOTE | on(LEGACY_STATS, "type hgetall"),
    ),
    "DeliveryCharges": Entry(on(DELIVERY, f"{READ_CACHE} {CHANGE_CACHE}") | SCRIPTS, IDENTITY),
    "Coupons": Entry(on(COUPONS, f"{READ_CACHE} {CHANGE_CACHE}") | SCRIPTS, IDENTITY),
    "Users": Entry(TRACKED, IDENTITY),
    "Statistics": STATISTICS | STATUSES,
}
"""What the library's classes need."""

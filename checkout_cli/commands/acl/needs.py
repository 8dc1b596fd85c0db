"""What each command of ``checkoutctl`` needs of Redis, in one table, and the least ACL rule of each role.

A new command gets a line in :data:`COMMANDS`; the roles are sets of commands, and their rules are computed. That the
table is complete, and that no rule has more than it must, is proven by running every command as that very user.
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
STATISTICS = f"{MINUTE_PREFIX}*"
CACHES = (DELIVERY, COUPONS)
OURS = (INDEX, INDEX_BESIDE)
"""Where our index can lie."""
SETS = (INDEX, INDEX_ASIDE)
"""Where an older program's SET can lie."""
ALL = (*(SESSIONS, CLAIMS, *OURS, INDEX_ASIDE, PENDING, LOCKS, JOBS, LEGACY_STATS), *CACHES, USERS, STATISTICS)

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


@dataclass(frozen=True, order=True)
class Need:
    """One command of Redis as an ACL rule names it (``config|get``), and the pattern of keys that it is for, if any."""

    command: str
    keys: str = ""

    @property
    def access(self) -> Access:
        """What it does to the keys."""
        return ACCESS[self.command] if self.keys else Access.NONE


Needs = frozenset[Need]


def _on(keys: str | Iterable[str], commands: str) -> Needs:
    """Commands on keys, all on all."""
    patterns = [keys] if isinstance(keys, str) else keys
    return frozenset(Need(command, pattern) for pattern in patterns for command in commands.split())


def _plain(commands: str) -> Needs:
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

_SCRIPTS = _plain("script|load time")
_LOOK = _on(SESSIONS, "strlen pttl get")
_PLACE = _on((*OURS, INDEX_ASIDE), "type") | _on(INDEX, "zrange")
_LISTED = _PLACE | _on(OURS, "zmscore") | _on(SETS, "smismember")
_MEMBERS = _LISTED | _on(SETS, "sscan") | _on(INDEX_BESIDE, "zscan")
_COUNT = _MEMBERS | _on(OURS, "zcount zrange") | _on(SESSIONS, "exists pttl") | _plain("scan")
_PENDING = _on(PENDING, "scard sscan") | _LOOK | _plain("ping")
_LIST = _MEMBERS | _on(OURS, "zrange zrevrank zscore zcount") | _on(SESSIONS, "exists") | _PENDING | _plain("scan")
_LOCK = _on(LOCKS, "set get evalsha del pexpire") | _SCRIPTS
_OPEN = _on(SESSIONS, "getex evalsha get set") | _on(CLAIMS, "evalsha get set del") | _SCRIPTS
_ENTER = _PLACE | _on(OURS, "zadd evalsha zrem type sadd srem") | _SCRIPTS
_PUBLISH = _OPEN | _on(SESSIONS, "del") | _ENTER
_FLUSH = _on(PENDING, "evalsha sadd srem")
_HAND_OVER = _on(PENDING, "srandmember") | _on(SESSIONS, "exists") | _LOOK | _FLUSH
_NOTE = _on(STATISTICS, "evalsha hincrby pexpire") | _on(USERS, "evalsha hget hset hsetnx hincrby pexpire")
_TRACKED = _on(USERS, "type pttl hmget")
_MEASURE = _on(ALL, "memory|usage pttl") | _on(INDEX, "strlen") | _plain("scan dbsize randomkey client|no-touch")
_READ_CACHE, _CHANGE_CACHE = "get getrange strlen pttl", "evalsha get set del"

_IDENTITY = _plain("info")
"""Who the server is: without it nothing in Redis is trusted, and the database answers."""
_PLACE_OF_JOB = _on(JOBS, "get set")
"""Where the last run has stopped: without it each begins at the start."""
_TRACE = Entry(
    _LOOK | _LISTED | (_on(PENDING, "smismember") | _plain("scan")),
    _IDENTITY | _on(CLAIMS, "exists"),
)
_INDEX_CHECK = (
    _MEMBERS
    | (_on(OURS, "zscan zcard") | _on(SETS, "scard"))
    | (_on(SESSIONS, "pttl strlen get exists") | _plain("scan time"))
)
_SETTLE = _on(OURS, "evalsha type zmscore zrem zadd") | _on(INDEX, "srem sadd") | _SCRIPTS
_FINISH = _SETTLE | _on(INDEX_ASIDE, "evalsha type srandmember srem") | _on(INDEX_BESIDE, "zrange zremrangebyrank")
_INDEX_REPAIR = _INDEX_CHECK | _LOCK | _FINISH | _on(SESSIONS, "evalsha pexpire")
_ADOPT = (
    (_MEMBERS | _LOCK | _FINISH)
    | (_on(OURS, "zcard rename") | _on(INDEX, "scard") | _on(INDEX_ASIDE, "rename exists"))
    | _on(SESSIONS, "exists pttl")
)
_ORPHANS = (
    (_LOCK | _LOOK | _plain("scan")) | _on(SESSIONS, "evalsha get del") | (_ENTER | _on(PENDING, "sscan evalsha srem"))
)
_STATISTICS = Entry(_on(STATISTICS, "hgetall"), _IDENTITY)
_STATUSES = Entry(helps=_LOOK | _on(SESSIONS, "getrange"))
"""What external writers have written since."""
_HEALTH = Entry(_plain("ping") | _COUNT | _PENDING, _IDENTITY | _on(LEGACY_STATS, "type hgetall") | _on(JOBS, "get"))
_MEMORY = Entry(
    _plain("info"),
    _MEASURE | _plain("config|get") | _on(SESSIONS, "strlen get") | _on(ALL, "object|idletime object|freq"),
)
_SLOWLOG = Entry(_plain("slowlog|get"), _plain("slowlog|len config|get") | _IDENTITY)
_LATENCY = Entry(_plain("ping"), _plain("info latency|latest latency|history latency|doctor config|get"))
_DOCTOR = Entry(
    _plain("ping"),
    _plain("acl|list client|list cluster|info config|get dbsize info latency|latest scan slowlog|get slowlog|len time")
    | (_on(LOCKS, "set get del pttl") | _on(JOBS, "get"))
    | (_on(SESSIONS, "get strlen pttl") | _on(CACHES, "get strlen") | _on(USERS, "hlen hkeys"))
    | (_LISTED | _on(OURS, "zcard zrandmember") | _on(INDEX, "memory|usage"))
    | (_on(PENDING, "scard sscan") | _on(STATISTICS, "hgetall")),
)


def _cache(keys: str, name: str) -> dict[str, Entry]:
    """The commands of one cache."""
    look = Entry(_on(keys, _READ_CACHE), _IDENTITY)
    change = look | Entry(_on(keys, _CHANGE_CACHE) | _SCRIPTS)
    return {
        f"cache {name} get": look,
        f"cache {name} list": look | Entry(_plain("scan")),
        f"cache {name} set": look | Entry(_on(keys, "set")),
        f"cache {name} invalidate": change | Entry(_plain("scan")),
    }


NOTHING = Entry()
COMMANDS: dict[str, Entry] = {
    "setup --check": Entry(_plain("ping"), _IDENTITY),
    "setup": Entry(_plain("ping") | _PUBLISH | _LOOK, _IDENTITY),
    "demo": NOTHING,  # on servers of its own
    "doctor": _DOCTOR,
    "ping": Entry(_plain("ping")),
    "health": _HEALTH,
    "config show": NOTHING,
    "config check": NOTHING,
    "sessions list": Entry(_LIST, _IDENTITY),
    "sessions show": Entry(_LOOK | _plain("scan"), _IDENTITY),
    "sessions trace": _TRACE,
    "sessions why": Entry(_TRACE.needs | _LIST, _TRACE.helps | _TRACKED),
    "sessions export": Entry(_LIST | _on(SESSIONS, "get mget"), _IDENTITY),
    "sessions index check": Entry(_INDEX_CHECK, _IDENTITY),
    "sessions index repair": Entry(_INDEX_REPAIR, _IDENTITY | _PLACE_OF_JOB),
    "sessions index adopt": Entry(_ADOPT, _IDENTITY),
    "sessions create": Entry(_PUBLISH, _IDENTITY | _NOTE, _HAND_OVER),
    "sessions update": Entry(_PUBLISH | _FLUSH, _IDENTITY | _NOTE, _HAND_OVER),
    "sessions delete": Entry(_PUBLISH | _FLUSH | _LOOK | _LIST, _IDENTITY | _NOTE, _HAND_OVER),
    "sessions restore": Entry(_PUBLISH, _IDENTITY, _HAND_OVER),
    "sessions extend": Entry(
        _LOOK | _on(SESSIONS, "exists evalsha pexpire set") | _on(CLAIMS, "evalsha del") | _SCRIPTS, _IDENTITY
    ),
    "sync --dry-run": Entry(_PENDING, _IDENTITY),
    "sync": Entry(
        _PENDING | _PUBLISH | _FLUSH | _LIST | _on(SESSIONS, "getrange"),
        _IDENTITY | _NOTE | _PLACE_OF_JOB,
        _HAND_OVER,
    ),
    "migrate plan": Entry(_LOOK | _plain("ping"), _IDENTITY),
    "migrate run": Entry(_LOOK | _PUBLISH | _LOCK | _plain("ping"), _IDENTITY, _HAND_OVER),
    "migrate run --to": Entry(
        (_LOOK | _PUBLISH | _FLUSH | _LOCK | _COUNT | _plain("ping"))
        | _on(SESSIONS, "evalsha pexpire")
        | _on([USERS, STATISTICS, LEGACY_STATS], "hgetall pttl evalsha exists hset pexpire"),
        _IDENTITY | _NOTE,
        _HAND_OVER,
    ),
    "migrate verify": Entry(_LOOK | _plain("ping"), _IDENTITY),
    "migrate verify --to": Entry(_LOOK | _COUNT | _plain("ping"), _IDENTITY),
    "migrate status": NOTHING,
    "cleanup --dry-run": Entry(_COUNT | _plain("time"), _IDENTITY),
    "cleanup": Entry(
        _COUNT | _INDEX_REPAIR | _ORPHANS,
        _IDENTITY | _PLACE_OF_JOB,
    ),
    "cache stats": _STATISTICS,
    **_cache(DELIVERY, "delivery"),
    **_cache(COUPONS, "coupon"),
    "stats": _STATISTICS | _STATUSES,
    "top": _HEALTH | _STATISTICS | Entry(_COUNT, _SLOWLOG.everything),
    "users list": Entry(_TRACKED | _plain("scan"), _IDENTITY),
    "users show": Entry(_TRACKED | _plain("scan"), _IDENTITY),
    "memory show": _MEMORY,
    "memory families": Entry(_plain("scan"), _MEASURE | _IDENTITY),
    "memory tune --advise": Entry(_plain("info"), _on(ALL, "memory|usage") | _plain("scan config|get")),
    "memory tune": Entry(_plain("info config|get config|set"), _plain("config|rewrite")),
    "info": Entry(_plain("info")),
    "slowlog": _SLOWLOG,
    "slowlog --reset": _SLOWLOG | Entry(_plain("slowlog|reset")),
    "latency": _LATENCY,
    "monitor": Entry(_plain("monitor"), _IDENTITY),
    "incident": Entry(helps=(_HEALTH | _DOCTOR | _MEMORY | _SLOWLOG | _LATENCY).everything),
    "incident diff": NOTHING,
    "cron print": NOTHING,
    "cron install": NOTHING,
    "cron remove": NOTHING,
    "cron status": NOTHING,
    "completion show": NOTHING,
    "completion install": NOTHING,
    "acl": NOTHING,
    "acl reader": NOTHING,
    "acl operator": NOTHING,
    "acl application": NOTHING,
    "acl check": Entry(helps=_plain("multi discard") | _IDENTITY),
    "serve": Entry(
        (_HEALTH.needs | _LIST | _COUNT | _LOCK | _STATISTICS.needs | _on(SESSIONS, "get mget") | _on(JOBS, "get set"))
        | _INDEX_REPAIR,
        _HEALTH.helps | _IDENTITY,
    ),
    "bench": Entry(_PUBLISH | _HAND_OVER | _LOCK | _COUNT | _plain("ping"), _IDENTITY),
}
"""By what is typed after ``checkoutctl``; with an option where a command that writes can also merely look."""
COMMANDS["cron run"] = _HEALTH | COMMANDS["cleanup"] | COMMANDS["sync"]  # its jobs

LIBRARY: dict[str, Entry] = {
    "CheckoutStore": Entry(
        _PUBLISH | _FLUSH | _COUNT | _on(PENDING, "scard srandmember sscan sadd") | _LOOK,
        _IDENTITY | _plain("ping") | _NOTE | _on(LEGACY_STATS, "type hgetall"),
    ),
    "DeliveryCharges": Entry(_on(DELIVERY, f"{_READ_CACHE} {_CHANGE_CACHE}") | _SCRIPTS, _IDENTITY),
    "Coupons": Entry(_on(COUPONS, f"{_READ_CACHE} {_CHANGE_CACHE}") | _SCRIPTS, _IDENTITY),
    "Users": Entry(_TRACKED, _IDENTITY),
    "Statistics": _STATISTICS | _STATUSES,
}
"""The same of the library's classes."""

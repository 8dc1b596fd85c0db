"""The words in which a command's record says what it needs of Redis.

That the records are complete, and that no role has more than it must, is proven by running every command as its user.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Flag

from checkout_cli import keys as names
from checkout_cli.commands.record import Command


class Access(Flag):
    """What a command does to a key, as key patterns of ACL rules tell it apart (Redis 7.0, ``%R~`` and ``%W~``)."""

    NONE = 0
    READ = 1
    WRITE = 2
    BOTH = 3


KEYS: dict[str, tuple[str, ...]] = {
    "sessions": (f"{names.SESSION_PREFIX}*",),
    "claims": (f"{names.CLAIM_PREFIX}*",),
    "index": (names.INDEX,),
    "beside": (names.INDEX_BESIDE,),
    "aside": (names.INDEX_ASIDE,),
    "pending": (names.PENDING,),
    "locks": (f"{names.LOCK_PREFIX}*",),
    "jobs": (f"{names.JOB_PREFIX}*",),
    "legacy": (names.LEGACY_STATS,),
    "delivery": (f"{names.DELIVERY_PREFIX}*",),
    "coupons": (f"{names.COUPON_PREFIX}*",),
    "users": (f"{names.USER_PREFIX}*",),
    "minutes": (f"{names.MINUTE_PREFIX}*",),
}
"""Patterns of keys by the names that records use for them."""
ALL = tuple(pattern for patterns in KEYS.values() for pattern in patterns)
KEYS |= {
    "ours": (names.INDEX, names.INDEX_BESIDE),  # where our index can lie
    "sets": (names.INDEX, names.INDEX_ASIDE),  # where an older program's SET can lie
    "caches": KEYS["delivery"] + KEYS["coupons"],
    "figures": KEYS["users"] + KEYS["minutes"] + KEYS["legacy"],
    "all": ALL,
}

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
        """The access that it takes to the keys."""
        return ACCESS[self.command] if self.keys else Access.NONE


Needs = frozenset[Need]


@dataclass(frozen=True)
class Entry:
    """A command fails without ``needs``, says less without ``helps``; ``fenced`` are needs where replicas promote."""

    needs: Needs = frozenset()
    helps: Needs = frozenset()
    fenced: Needs = frozenset()

    def __or__(self, other: Entry) -> Entry:
        """The needs of two together."""
        needs = self.needs | other.needs
        return Entry(needs, (self.helps | other.helps) - needs, self.fenced | other.fenced)

    @property
    def everything(self) -> Needs:
        """Its needs and helps."""
        return self.needs | self.helps


GROUPS = {
    "SCRIPTS": "script|load time",  # TIME is what our scripts ask the clock
    "LOOK": "sessions:strlen,pttl,get",
    "PLACE": "ours:type aside:type index:zrange",
    "BEGINNING": "LOOK PLACE ours:zscan sessions:exists scan",  # what finds a session by the beginning of its id
    "LISTED": "PLACE ours:zmscore sets:smismember",
    "MEMBERS": "LISTED sets:sscan beside:zscan",
    "COUNT": "MEMBERS ours:zcount,zrange sessions:exists,pttl scan",
    "WAITING": "pending:scard,sscan LOOK ping",
    "LIST": "MEMBERS ours:zrange,zrevrank,zscore,zcount sessions:exists WAITING scan",
    "LOCK": "locks:set,get,getrange,evalsha,del,pexpire SCRIPTS",
    "REQUIREMENTS": (
        "sessions:getex,evalsha,get,exists,strlen,pttl claims:set,del pending:srem,srandmember "
        "index:type,zrange,zadd,zrem minutes:hincrby,pexpire SCRIPTS"
    ),  # store/redis/requirements.py
    "OPEN": "sessions:getex,evalsha,get,set claims:evalsha,get,set,del SCRIPTS REQUIREMENTS",
    "ENTER": "PLACE ours:zadd,evalsha,zrem,type,sadd,srem SCRIPTS",
    "PUBLISH": "OPEN sessions:del ENTER",
    "FLUSH": "pending:evalsha,sadd,srem",
    "HAND_OVER": "pending:srandmember sessions:exists LOOK FLUSH",
    "NOTE": "minutes:evalsha,hincrby,pexpire users:evalsha,hget,hset,hsetnx,hincrby,pexpire",
    "TRACKED": "users:type,pttl,hlen,hmget",
    "MEASURE": "all:memory|usage,pttl index:strlen scan dbsize randomkey client|no-touch",
    "IDENTITY": "info",  # who the server is: without it nothing in Redis is trusted, and the database answers
    "STATUSES": "LOOK sessions:getrange",  # what external writers have written since
    "INDEX_CHECK": "MEMBERS ours:zscan,zcard sets:scard sessions:pttl,strlen,get,exists scan time",
    "SETTLE": "ours:evalsha,type,zmscore,zrem,zadd index:srem,sadd SCRIPTS",
    "FINISH": "SETTLE aside:evalsha,type,srandmember,srem beside:zrange,zremrangebyrank",
    "INDEX_REPAIR": "INDEX_CHECK LOCK FINISH sessions:evalsha,pexpire",
}
"""What several commands have in common. A word stands for one of these groups, for commands on keys, all on all of them
(``pending:scard,sscan``), or for a command without a key (``ping``)."""


def needs_of(words: str) -> Needs:
    """The needs that words stand for; raises ``KeyError`` where there is no such word."""
    found: Needs = frozenset()
    for word in words.split():
        keys, _, commands = word.rpartition(":")
        if word in GROUPS:
            found |= needs_of(GROUPS[word])
        elif word in PLAIN:
            found |= {Need(word)}
        elif keys in KEYS and ACCESS.keys() >= set(commands.split(",")):
            found |= {Need(command, pattern) for pattern in KEYS[keys] for command in commands.split(",")}
        else:
            raise KeyError(word)
    return found


def table(records: Iterable[Command]) -> dict[str, Entry]:
    """The needs of each use of each command; raises ``ValueError`` where a record names one that does not exist."""
    owners = {name: (record, use) for record in records for name, use in record.by_name().items()}

    def entry(name: str) -> Entry:
        record, use = owners[name]
        helps = use.helps if isinstance(use.helps, str) else use.helps()
        try:
            whole = Entry(needs_of(use.needs), needs_of(helps), needs_of(use.fenced))
            for other in use.does:
                whole |= entry(other)
            return whole | Entry(helps=frozenset(need for other in use.tries for need in entry(other).everything))
        except KeyError as error:
            raise ValueError(f"the record of {record.name} names a need that does not exist: {error}") from error

    return {name: entry(name) for name in owners}


def _library(needs: str, helps: str) -> Entry:
    return Entry(needs_of(needs), needs_of(helps))


LIBRARY = {
    "CheckoutStore": _library(
        "PUBLISH FLUSH COUNT LOOK pending:scard,srandmember,sscan,sadd",
        "IDENTITY ping NOTE legacy:type,hlen,hgetall,memory|usage",
    ),
    "DeliveryCharges": _library("delivery:get,getrange,strlen,pttl,evalsha,set,del SCRIPTS", "IDENTITY"),
    "Coupons": _library("coupons:get,getrange,strlen,pttl,evalsha,set,del SCRIPTS", "IDENTITY"),
    "Users": _library("TRACKED", "IDENTITY users:memory|usage"),
    "Statistics": _library("minutes:hlen,hgetall", "IDENTITY STATUSES minutes:memory|usage"),
}
"""The needs of the library's classes."""

"""The shape of a command: its name and its key, never a value.

Slow logs and MONITOR show commands as they were sent, with e-mail addresses, phone numbers and whole sessions in them.
Only the name, the first key and the number of other arguments leave this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checkout_cli.keys import Family, family_of
from checkout_cli.store.redis.commands import decoded, script_names

UNKNOWN = "?"
"""In place of a name that is no command's: it may be a value."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WITH_SUBCOMMAND = _words(
    "acl client cluster command commandlog config debug function latency memory module object pfdebug pubsub script "
    "sentinel slowlog xgroup xinfo"
)
_KEY_FIRST = _words(
    "append bitcount bitfield bitfield_ro bitpos blmove blpop brpop brpoplpush bzpopmax bzpopmin copy decr decrby "
    "del dump exists expire expireat expiretime geoadd geodist geohash geopos georadius georadius_ro "
    "georadiusbymember georadiusbymember_ro geosearch geosearchstore hexpire hexpireat hexpiretime hgetdel hgetex "
    "hpersist hpexpire hpexpireat hpexpiretime hpttl hsetex httl lcs pfmerge restore-asking rpoplpush sdiffstore "
    "sinterstore sort_ro sunionstore xack xautoclaim xclaim xdel xpending xrevrange xsetid xtrim zdiffstore "
    "zinterstore zrangebylex zrangestore zremrangebylex zrevrangebylex zunionstore get getbit getdel getex getrange "
    "getset hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx "
    "hstrlen hvals incr incrby incrbyfloat lindex linsert llen lmove lpop lpos lpush lpushx lrange lrem lset ltrim "
    "mget move mset msetnx persist pexpire pexpireat pexpiretime pfadd pfcount psetex pttl rename renamenx restore "
    "rpop rpush rpushx sadd scard sdiff set setbit setex setnx setrange sinter sismember smembers smismember smove "
    "sort spop srandmember srem sscan strlen sunion substr touch ttl type unlink watch xadd xlen xrange zadd zcard "
    "zcount zincrby zlexcount zmscore zpopmax zpopmin zrandmember zrange zrangebyscore zrank zrem zremrangebyrank "
    "zremrangebyscore zrevrange zrevrangebyscore zrevrank zscan zscore delifeq"
)
_KEY_AFTER_SUBCOMMAND = frozenset(
    {
        *("memory usage", "object idletime", "object freq", "object encoding", "object refcount", "debug object"),
        *("xgroup create", "xgroup createconsumer", "xgroup delconsumer", "xgroup destroy", "xgroup setid"),
        *("xinfo consumers", "xinfo groups", "xinfo stream"),
    }
)
_KEY_BEHIND = {"bitop": 1, "migrate": 2}
"""How many arguments stand before the first key: an operation, or a host and its port."""
_NUMBER_OF_KEYS_BEHIND = {
    **dict.fromkeys(_words("lmpop msetex sintercard zdiff zinter zintercard zmpop zunion"), 0),
    **dict.fromkeys(_words("blmpop bzmpop"), 1),
}
"""How many arguments stand before the number of keys, which the first key follows."""
_STREAMS = _words("xread xreadgroup")
_KEYLESS = _words(
    "asking auth bgrewriteaof bgsave clusterscan dbsize discard echo exec failover flushall flushdb hello info keys "
    "lastsave lolwut monitor multi pfselftest ping psubscribe psync publish punsubscribe quit randomkey readonly "
    "readwrite replconf replicaof reset role save scan select shutdown slaveof spublish ssubscribe subscribe "
    "sunsubscribe swapdb sync time unsubscribe unwatch wait waitaof"
)
_SCRIPTS = frozenset({"eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"})
_SUBCOMMANDS = _words(
    "list getuser setuser whoami dryrun log cat info setname getname setinfo no-evict no-touch id kill pause unpause "
    "reply tracking slots shards nodes myid myshardid meet addslots count countkeysinslot getkeysinslot keyslot docs "
    "getkeys get set rewrite resetstat sleep object reload jmap doctor history latest reset histogram graph usage "
    "stats purge malloc-stats idletime freq encoding refcount help load exists flush len create createconsumer "
    "delconsumer destroy setid stream groups consumers"
)
_LONGEST_NAME = 40
_KNOWN = frozenset({*_KEY_FIRST, *_KEYLESS, *_WITH_SUBCOMMAND, *_KEY_BEHIND, *_NUMBER_OF_KEYS_BEHIND, *_STREAMS})


@dataclass(frozen=True)
class CommandShape:
    """A command without its values.

    ``name`` is in capitals, with its subcommand or the name of our script. ``key`` is the first key, to be cut for
    output; ``others`` counts the other arguments.
    """

    name: str
    key: bytes | None
    others: int

    @property
    def family(self) -> Family | None:
        """The family of the key, if there is one."""
        return None if self.key is None else family_of(self.key)


def shape_of(arguments: Sequence[bytes]) -> CommandShape:
    """The shape of a command as sent, its name first."""
    if not arguments:
        return CommandShape(UNKNOWN, None, 0)
    name, rest = _word(arguments[0]), list(arguments[1:])
    if name in _SCRIPTS:
        return _script(name, rest)
    if name in _WITH_SUBCOMMAND and rest:
        below = _word(rest[0])
        whole = f"{name} {below}" if below in _SUBCOMMANDS else name
        key = rest[1] if whole in _KEY_AFTER_SUBCOMMAND and len(rest) > 1 else None
        return CommandShape(whole.upper(), key, len(rest) - 1 - (key is not None))
    if name in _KEY_FIRST and rest:
        return CommandShape(name.upper(), rest[0], len(rest) - 1)
    place = _place_of_key(name, rest)
    if place is not None and place < len(rest):
        return CommandShape(name.upper(), rest[place], len(rest) - 1)
    if name in _KNOWN:
        return CommandShape(name.upper(), None, len(rest))
    return CommandShape(UNKNOWN, None, len(rest))


def _place_of_key(name: str, rest: Sequence[bytes]) -> int | None:
    """The position of the first key where it is not the first argument; ``None`` where that is unknown."""
    if name in _NUMBER_OF_KEYS_BEHIND:
        number = _NUMBER_OF_KEYS_BEHIND[name]
        return number + 1 if number < len(rest) and rest[number].isdigit() and rest[number] != b"0" else None
    if name in _STREAMS:
        first = 3 if rest and rest[0].lower() == b"group" else 0  # a group or a consumer may be called "streams" too
        return next(
            (place + 1 for place, word in enumerate(rest) if place >= first and word.lower() == b"streams"), None
        )
    return _KEY_BEHIND.get(name)


def _word(raw: bytes) -> str:
    return decoded(raw[:_LONGEST_NAME]).lower()


def _script(name: str, rest: Sequence[bytes]) -> CommandShape:
    """One of our scripts by its name, another by the command's; its text is an argument like others."""
    ours = script_names().get(_word(rest[0])) if rest and name.startswith("evalsha") else None
    shown = name.upper() if ours is None else f"{name.upper()} {ours}"
    keys = rest[1] if len(rest) > 1 else b"0"
    has_key = keys.isdigit() and keys != b"0" and len(rest) > 2
    return CommandShape(shown, rest[2] if has_key else None, max(len(rest) - (3 if has_key else 2), 0))

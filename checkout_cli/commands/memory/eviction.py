"""Whom a full Redis would hurt first: the checkouts, and the value of their baskets, that its policy evicts next.

Judged from a sample, as Redis itself does it. Of each session no more than the status and the total is looked at.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from checkout_cli.commands.memory.measure import NO_TTL, Method, Ways, measuring
from checkout_cli.commands.memory.sample import SampledKey, sample_of
from checkout_cli.errors import CommandDenied, CommandUnknown, SessionCorrupt
from checkout_cli.keys import Family, family_of
from checkout_cli.servers.inspection import missing_grant
from checkout_cli.session import PaymentStatus, Session, TierName, decode
from checkout_cli.store.redis.pipeline import Conversation
from checkout_cli.store.redis.server import RedisServer

SAMPLE = 1000
"""Keys that are looked at; with no more than twice as many, all are."""
LARGEST_VALUE = 256 * 1024
"""The largest value that is fetched, in bytes: no session of ours is larger."""
PART = 0.01
"""What is freed by the evictions that are told of, as a part of the limit."""
NO_EVICTION = "noeviction"
_OPEN = frozenset({PaymentStatus.PENDING, PaymentStatus.PROCESSING})
_VALUES_AT_ONCE, _QUESTIONS_AT_ONCE = 20, 500


@dataclass(frozen=True)
class Checkouts:
    """Checkouts that are not over (pending or processing), and the sum of their totals in the shop's currency."""

    JSON_KEYS = "number basketValue=value"

    number: int
    value: float


@dataclass(frozen=True)
class EvictionRisk:
    """What of one server's keys goes first when it is full.

    ``order`` says in words what is evicted first. ``open`` are all open checkouts, and ``first`` those that are evicted
    to free ``freed`` bytes, together with ``keys`` keys of ``families``. All but ``looked_at`` are scaled up from the
    keys looked at, unless ``exact``. ``open`` and ``first`` are ``None`` where ``notes`` say why. ``none`` says why
    nothing is evicted at all, where that is so.
    """

    JSON_KEYS = (
        "none? order sampledKeys=looked_at exact openCheckouts=open freedBytes=freed evictedKeys "
        "evictedByFamily=families evictedCheckouts=first"
    )

    order: str
    looked_at: int
    exact: bool
    open: Checkouts | None
    first: Checkouts | None = None
    freed: int | None = None
    keys: int = 0
    families: Mapping[Family, int] | None = None
    notes: tuple[str, ...] = ()
    none: str = ""

    @property
    def evicted_keys(self) -> int | None:
        """How many go first, where that is known."""
        return None if self.families is None else self.keys


def order_of(policy: str) -> str:
    """What a policy evicts first, in words (Redis documentation, "Key eviction")."""
    if policy == NO_EVICTION:
        return "nothing is evicted: writes are refused when it is full"
    which = "keys with a TTL" if policy.startswith("volatile-") else "all keys"
    how = {"ttl": "the soonest to expire", "lru": "the longest unused", "lfu": "the least used", "random": "any"}
    return f"of {which}, {how.get(policy.rpartition('-')[2], 'in an order that we do not know')} first"


def eviction_risk(
    server: RedisServer, policy: str, limit: int | None, random: Random, *, now: int, is_cluster: bool = False
) -> EvictionRisk:
    """Look at a sample of a server's keys; ``limit`` is its ``maxmemory`` in bytes, ``now`` is in milliseconds.

    Raises:
        CommandDenied, CommandUnknown: SCAN or DBSIZE is.
        RedisUnavailable: the server does not answer.
    """
    sample = sample_of(server, SAMPLE, random, now=now, is_cluster=is_cluster, few=2 * SAMPLE)
    keys = sample.rows()
    with measuring(server) as (talk, ways):
        notes = list(ways.notes)
        baskets = _baskets(talk, ways, [item.key for item in keys], notes)
        ordered = _in_order(talk, policy, keys, notes)
    return _risk(policy, limit, keys, ordered, baskets, sample.is_exact, ways, notes)


def _risk(
    policy: str,
    limit: int | None,
    keys: Sequence[SampledKey],
    ordered: Sequence[SampledKey] | None,
    baskets: Mapping[bytes, float] | None,
    exact: bool,
    ways: Ways,
    notes: list[str],
) -> EvictionRisk:
    opened = None if baskets is None else _checkouts(keys, baskets)
    order = order_of(policy)
    if policy == NO_EVICTION or limit is None or ordered is None or ways.method is Method.NONE:
        return EvictionRisk(order, len(keys), exact, opened, notes=tuple(dict.fromkeys(notes)))
    evicted, freed, wanted = [], 0.0, limit * PART
    for item in ordered:
        if freed >= wanted:
            break
        evicted.append(item)
        freed += item.size * item.stands_for
    families: defaultdict[Family, float] = defaultdict(float)
    for item in evicted:
        families[family_of(item.key)] += item.stands_for
    return EvictionRisk(
        order,
        len(keys),
        exact,
        opened,
        None if baskets is None else _checkouts(evicted, baskets),
        round(freed),
        round(sum(families.values())),
        {family: round(number) for family, number in families.items()},
        tuple(dict.fromkeys(notes)),
    )


def _checkouts(keys: Sequence[SampledKey], baskets: Mapping[bytes, float]) -> Checkouts:
    of_open = [item for item in keys if item.key in baskets]
    value = sum(baskets[item.key] * item.stands_for for item in of_open)
    return Checkouts(round(sum(item.stands_for for item in of_open)), round(value, 2))


def _in_order(talk: Conversation, policy: str, keys: Sequence[SampledKey], notes: list[str]) -> list[SampledKey] | None:
    """The keys that a policy may evict, what goes first first; ``None`` where that cannot be told."""
    candidates = [item for item in keys if item.ttl != NO_TTL] if policy.startswith("volatile-") else list(keys)
    kind = policy.rpartition("-")[2]
    if kind == "ttl":
        return sorted(candidates, key=lambda item: math.inf if item.ttl is None else item.ttl)
    if kind not in {"lru", "lfu"} or not candidates:
        return candidates  # any of them: the sample is in no order
    question = "IDLETIME" if kind == "lru" else "FREQ"
    replies: list[Any] = []
    for start in range(0, len(candidates), _QUESTIONS_AT_ONCE):
        some = candidates[start : start + _QUESTIONS_AT_ONCE]
        replies += talk.ask(*(("OBJECT", question, item.key) for item in some))
    for reply in replies:
        if isinstance(reply, (CommandDenied, CommandUnknown)):
            notes.append(f"what is evicted first is unknown: {missing_grant(reply)}")
            return None
    sign = -1 if kind == "lru" else 1
    known = [(sign * reply, place) for place, reply in enumerate(replies) if isinstance(reply, int)]
    return [candidates[place] for _, place in sorted(known)]


def _baskets(talk: Conversation, ways: Ways, keys: Sequence[bytes], notes: list[str]) -> dict[bytes, float] | None:
    """The totals of the open checkouts among some keys; ``None`` where their values may not be read."""
    sessions = [key for key in keys if family_of(key) is Family.SESSIONS]
    found: dict[bytes, float] = {}
    if sessions and not ways.no_touch:
        notes.append("the sampled sessions count as used now: this server or user has no CLIENT NO-TOUCH")
    for start in range(0, len(sessions), _VALUES_AT_ONCE):
        some = sessions[start : start + _VALUES_AT_ONCE]
        lengths = talk.ask(*(("STRLEN", key) for key in some))
        small = [key for key, size in zip(some, lengths, strict=True) if _is_small(size)]
        values = talk.ask(*(("GET", key) for key in small)) if small else lengths
        for reply in (*lengths, *values):
            if isinstance(reply, (CommandDenied, CommandUnknown)):
                notes.append(f"open checkouts and their baskets are unknown: {missing_grant(reply)}")
                return None
        for key, value in zip(small, values, strict=False):
            total = _total_if_open(value)
            if total is not None:
                found[key] = total
    return found


def _is_small(size: Any) -> bool:
    return isinstance(size, int) and 0 < size <= LARGEST_VALUE


def _total_if_open(value: Any) -> float | None:
    """The total of a checkout that is not over; 0 where it has none."""
    if not isinstance(value, bytes):
        return None
    try:
        session = Session("", decode(value), 0, TierName.REDIS)
    except SessionCorrupt:
        return None
    total = session.total
    return (total if total is not None and math.isfinite(total) else 0.0) if session.status in _OPEN else None

"""The checkouts, and the value of their baskets, that a full Redis would evict first.

Judged from a sample, as Redis itself does it. Of a session only the status and the total are read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from checkout_cli.commands.memory.measure import NO_TTL, Allowed, Method, measuring
from checkout_cli.commands.memory.sample import SampledKey, sample_of
from checkout_cli.errors import CommandDenied, CommandUnknown, SessionCorrupt
from checkout_cli.keys import Family, family_of
from checkout_cli.servers.inspection import missing_grant
from checkout_cli.session import PaymentStatus, Session, TierName, decode
from checkout_cli.store.redis.pipeline import Conversation
from checkout_cli.store.redis.server import RedisServer

SAMPLE = 1000
"""Keys that are sampled; where there are no more than twice as many, all are read."""
LARGEST_VALUE = 256 * 1024
"""The largest value that is fetched, in bytes: no session of ours is larger."""
PART = 0.01
"""How much the reported evictions free, as a part of the limit."""
NO_EVICTION = "noeviction"
_OPEN = frozenset({PaymentStatus.PENDING, PaymentStatus.PROCESSING})
_VALUES_AT_ONCE, _QUESTIONS_AT_ONCE = 20, 500


@dataclass(frozen=True)
class Checkouts:
    """Open checkouts (pending or processing), and the sum of their totals in the shop's currency."""

    JSON_KEYS = "number basketValue=value"

    number: int
    value: float


@dataclass(frozen=True)
class EvictionRisk:
    """The keys of one server that are evicted first when it is full.

    ``order`` is that order in words. ``open`` are all open checkouts; ``first`` are those that are evicted to free
    ``freed`` bytes, among ``keys`` keys of ``families``. All are scaled up from ``looked_at`` keys, unless ``exact``.
    Where ``open`` and ``first`` are ``None``, ``notes`` say why. ``none`` is why nothing is evicted at all, if so.
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
        return None if self.families is None else self.keys


def order_of(policy: str) -> str:
    """The order in which a policy evicts, in words (Redis documentation, "Key eviction")."""
    if policy == NO_EVICTION:
        return "nothing is evicted: writes are refused when it is full"
    which = "keys with a TTL" if policy.startswith("volatile-") else "all keys"
    how = {"ttl": "the soonest to expire", "lru": "the longest unused", "lfu": "the least used", "random": "any"}
    return f"of {which}, {how.get(policy.rpartition('-')[2], 'in an order that we do not know')} first"


def eviction_risk(server: RedisServer, policy: str, limit: int | None, random: Random, *, now: int) -> EvictionRisk:
    """Judge a sample of keys; ``limit`` is ``maxmemory``, ``now`` is in ms. Raises as :func:`sample_of` does."""
    sample = sample_of(server, SAMPLE, random, now=now, few=2 * SAMPLE)
    keys = sample.rows()
    with measuring(server) as (talk, allowed):
        notes = list(allowed.notes)
        baskets = _baskets(talk, allowed, [item.key for item in keys], notes)
        ordered = _in_order(talk, policy, keys, notes)
    risk = EvictionRisk(
        order_of(policy),
        len(keys),
        exact=not sample.total,
        open=None if baskets is None else _checkouts(keys, baskets),
        notes=tuple(dict.fromkeys(notes)),
    )
    if policy == NO_EVICTION or limit is None or ordered is None or allowed.method is Method.NONE:
        return risk
    evicted, freed = [], 0.0
    families: defaultdict[Family, float] = defaultdict(float)
    for item in ordered:
        if freed >= limit * PART:
            break
        evicted.append(item)
        freed += item.size * item.stands_for
        families[family_of(item.key)] += item.stands_for
    return replace(
        risk,
        first=None if baskets is None else _checkouts(evicted, baskets),
        freed=round(freed),
        keys=round(sum(families.values())),
        families={family: round(number) for family, number in families.items()},
    )


def _checkouts(keys: Sequence[SampledKey], baskets: Mapping[bytes, float]) -> Checkouts:
    of_open = [item for item in keys if item.key in baskets]
    value = sum(baskets[item.key] * item.stands_for for item in of_open)
    return Checkouts(round(sum(item.stands_for for item in of_open)), round(value, 2))


def _in_order(talk: Conversation, policy: str, keys: Sequence[SampledKey], notes: list[str]) -> list[SampledKey] | None:
    """The keys that a policy may evict, in its order; ``None`` where that is unknown."""
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


def _baskets(
    talk: Conversation, allowed: Allowed, keys: Sequence[bytes], notes: list[str]
) -> dict[bytes, float] | None:
    """The totals of the open checkouts among some keys; ``None`` where their values may not be read."""
    sessions = [key for key in keys if family_of(key) is Family.SESSIONS]
    found: dict[bytes, float] = {}
    if sessions and not allowed.no_touch:
        notes.append("the sampled sessions count as used now: this server or user has no CLIENT NO-TOUCH")
    for start in range(0, len(sessions), _VALUES_AT_ONCE):
        some = sessions[start : start + _VALUES_AT_ONCE]
        lengths = talk.ask(*(("STRLEN", key) for key in some))
        sizes = zip(some, lengths, strict=True)
        small = [key for key, size in sizes if isinstance(size, int) and 0 < size <= LARGEST_VALUE]
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


def _total_if_open(value: Any) -> float | None:
    if not isinstance(value, bytes):
        return None
    try:
        session = Session("", decode(value), 0, TierName.REDIS)
    except SessionCorrupt:
        return None
    return (session.total or 0.0) if session.status in _OPEN else None

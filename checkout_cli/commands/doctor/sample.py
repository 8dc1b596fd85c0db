"""The samples that checks of the data use: keys from random places, and random entries of the index.

A million sessions cannot be read in a second; some thousands are enough, and each check says how many it used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.memory.sample import sample_of
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, WrongKeyType
from checkout_cli.keys import Family, checkout_id_of, family_of, session_key
from checkout_cli.servers.inspection import Inspector
from checkout_cli.session import MAX_BODY_BYTES
from checkout_cli.store.redis.commands import decoded, encoded
from checkout_cli.store.redis.index_place import Layout

KEYS = 2000
"""Of each server; all of them where it has no more."""
MEMBERS = 1000
"""Entries of the index."""
AT_ONCE = 500
"""Keys in one pipeline."""
MOST_BYTES = 2 << 20
"""Of values that are read in one go: other programs' sessions may be of any size."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class SampledSession:
    """One session's key: ``ttl`` in milliseconds (-1: none), ``size`` in bytes (``None``: it is no string)."""

    checkout_id: str
    ttl: int
    size: int | None
    indexed: bool


@dataclass(frozen=True)
class SampledEntry:
    """One entry of the index, and the time to live of its key in milliseconds (-2: there is no key)."""

    checkout_id: str
    score: float
    ttl: int


def granted(replies: Sequence[Any]) -> Sequence[Any]:
    """The replies; raises the first refusal of the command itself, for the others then say nothing."""
    for reply in replies:
        if isinstance(reply, (CommandDenied, CommandUnknown)):
            raise reply
    return replies


def keys_of(context: DoctorContext, server: Inspector) -> dict[Family, list[bytes]]:
    """Some 2,000 keys of a server in random order, by family; all of them where there are no more."""
    return context.once(f"keys of {server.place}", lambda: _by_family(server))


def _by_family(server: Inspector) -> dict[Family, list[bytes]]:
    chance = random.Random(random.getrandbits(64))  # noqa: S311  (no secret)
    found = sample_of(server.server, KEYS, chance, few=KEYS, sizes=False)
    keys = sorted({item.key for item in found.rows()})
    families: dict[Family, list[bytes]] = {}
    for key in chance.sample(keys, len(keys)):  # in their own order, the first would always be the same kind
        families.setdefault(family_of(key), []).append(key)
    return families


def index_layout(context: DoctorContext) -> Layout:
    """The places of the index."""
    return context.once("index layout", context.store.index.layout)


def sampled_sessions(context: DoctorContext) -> list[SampledSession]:
    """Session keys from random places, measured without being read."""
    return context.once("sessions", lambda: _sessions(context))


def _sessions(context: DoctorContext) -> list[SampledSession]:
    keys = [key for server in context.servers for key in keys_of(context, server).get(Family.SESSIONS, [])]
    random.shuffle(keys)  # so that the first of them are of all servers
    ids = [checkout_id_of(decoded(key)) for key in keys]
    missing = set(_missing(context, ids))
    measures = [measure for some in _in_pages(keys) for measure in context.store.redis.measures(some)]
    granted([reply for measure in measures for reply in measure])
    # Again, because a session that was created or deleted meanwhile was, for a moment, a key without an entry.
    missing = set(_missing(context, sorted(missing)))
    return [
        SampledSession(name, int(ttl), None if isinstance(size, WrongKeyType) else _whole(size), name not in missing)
        for name, (ttl, size) in zip(ids, measures, strict=True)
        if not isinstance(ttl, CheckoutError) and ttl != -2  # of a cluster's server that is away; ended meanwhile
    ]


def _whole(size: object) -> int:
    return size if isinstance(size, int) else 0


def _in_pages(some: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (some[start : start + AT_ONCE] for start in range(0, len(some), AT_ONCE))


def to_read(context: DoctorContext, number: int) -> list[str]:
    """At most so many of the sampled sessions, whose values are small enough to be read in one go."""
    ids: list[str] = []
    room = MOST_BYTES
    for session in sampled_sessions(context):
        if session.size is not None and session.size <= MAX_BODY_BYTES:
            room -= session.size
            if room < 0 or len(ids) == number:
                break
            ids.append(session.checkout_id)
    return ids


def _missing(context: DoctorContext, ids: Sequence[str]) -> list[str]:
    if index_layout(context).is_empty:
        return []
    return [name for some in _in_pages(ids) for name in context.store.index.missing(some)]


def sampled_entries(context: DoctorContext) -> list[SampledEntry]:
    """Random entries of our index."""
    return context.once("entries", lambda: _entries(context))


def _entries(context: DoctorContext) -> list[SampledEntry]:
    drawn = context.store.index.some_entries(MEMBERS)
    ttls = context.store.redis.ttls([encoded(session_key(entry.checkout_id)) for entry in drawn])
    if not context.store.redis.is_cluster:
        for refusal in ttls:
            if isinstance(refusal, CheckoutError):
                raise refusal
    entries = [
        SampledEntry(entry.checkout_id, entry.score, int(ttl))
        for entry, ttl in zip(drawn, ttls, strict=True)
        if not isinstance(ttl, CheckoutError)  # of a cluster's server that is away
    ]
    deleted = set(_missing(context, [entry.checkout_id for entry in entries if entry.ttl == -2]))  # while we looked
    return [entry for entry in entries if entry.checkout_id not in deleted]

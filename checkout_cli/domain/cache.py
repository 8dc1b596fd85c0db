"""A shop's cache: one round trip to read, one computation for a miss, and no failure of its own.

An entry is one JSON object, ``{"answers": […]}``, each answer with the generation in which its computation began
(:mod:`checkout_cli.domain.generation`). Another program's entry has none, and is never served.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from checkout_cli.domain.entries import Answer, CacheEntry, Problem
from checkout_cli.domain.fallback import Fallback
from checkout_cli.domain.generation import Generation, Stamp, begin, invalidate, parsed
from checkout_cli.domain.single_flight import SingleFlight
from checkout_cli.errors import (
    CheckoutError,
    InvalidInput,
    RedisPoolExhausted,
    RedisRefusing,
    RedisUnavailable,
    WrongKeyType,
    value_of,
)
from checkout_cli.session import check_fields, iso, milliseconds_of
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import KEYS_AT_ONCE
from checkout_cli.store.redis.commands import Command, decoded, encoded

LARGEST_ENTRY = 64 * 1024
"""Bytes of an entry; a larger one is neither written nor read."""
ATTEMPTS = 3
"""To begin the generation anew while another program overwrites it."""
JITTER = 0.1
"""The part of a lifetime by which it varies either way, so that entries of one moment do not end together."""

_log = logging.getLogger("checkout_cli.domain")


class Stored(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """An answer in Redis; ``context`` is the digest of what it was asked with, if anything."""

    generation: Stamp
    stored_at: str
    expires_at: str
    value: Any
    context: str | None = None


class _Document(msgspec.Struct, frozen=True):
    answers: list[Stored]


class _Seen(msgspec.Struct, frozen=True):
    """The result of a read: the generation in force, and the answers or why there are none."""

    generation: Generation
    answers: tuple[Stored, ...] = ()
    problem: Problem | None = None


_NO_GENERATION = Generation(Stamp("", 0, ""), 0)
"""No answer has it."""

_decoder = msgspec.json.Decoder(_Document)
_encoder = msgspec.json.Encoder()


class Cache:
    """One cache. Thread-safe; make one per process, beside the store that it is built on."""

    name: str
    prefix: str
    generation_key: str
    most_answers = 1

    def __init__(
        self,
        store: CheckoutStore,
        *,
        enabled: bool,
        longest: float,
        chance: Callable[[], float] = random.random,
        tokens: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """``longest`` is the longest lifetime in seconds; ``chance`` returns a number from 0 to 1."""
        self.enabled = enabled
        self._redis = store.redis
        self._bookkeeping = store.bookkeeping
        self._clock = store.clock
        self._remembered = int(longest * 2000)
        self._chance = chance
        self._tokens = tokens
        self._flights = SingleFlight()
        self._fallback = Fallback(store.clock.elapsed)
        self._warned = False

    # To be defined by each cache

    def covers(self, scope: str, names: Sequence[str]) -> bool:
        """Whether an entry is within an invalidated scope."""
        raise NotImplementedError

    def check(self, value: Any) -> None:
        """Raise ``InvalidInput`` for anything but an answer of this cache."""
        raise NotImplementedError

    def names_of(self, key: str) -> tuple[str, ...]:
        """The parts of a key."""
        return tuple(key.removeprefix(self.prefix).split(":", 1))

    def lifetime(self, value: Any) -> float:
        """Seconds for which an answer holds, before jitter."""
        raise NotImplementedError

    # Reading for the shop

    def _fetch(self, key: str, context: str | None, compute: Callable[[], Any]) -> Any:
        """The same JSON, cached or computed; raises whatever ``compute`` raises, and nothing for cache troubles."""
        if not self.enabled:
            return msgspec.json.decode(self._checked(compute()))
        asked, entered = self._fallback.moment(), self._flights.moment()
        try:
            seen = self._read(key)
        except CheckoutError as away:
            return msgspec.json.decode(self._without_redis(key, context, compute, away, asked))
        self._fallback.forget()
        found, problem = self._served(seen, key, context)
        if found is not None:
            self._note("hit")
            return found.value
        self._note("miss" if problem is None else "stale")
        # Of this generation only: nobody may wait for what began before an invalidation.
        flight = (key, context, seen.generation.stamp)

        def computed() -> bytes:
            if self._flights.landed_since(flight, entered):  # somebody has cached it since it was missing
                again = self._landed(key, context)
                if again is not None:
                    return again
            return self._computed(key, context, compute, seen)

        return msgspec.json.decode(self._flights.run(flight, computed))

    def _served(self, seen: _Seen, key: str, context: str | None) -> tuple[Stored | None, Problem | None]:
        """The answer to serve, or why there is none; ``None`` for both where there never was one."""
        problem = seen.problem
        for answer in seen.answers:
            if answer.context == context:
                problem = self._problem(answer, key, seen.generation)
                if problem is None:
                    return answer, None
        return None, problem

    def _landed(self, key: str, context: str | None) -> bytes | None:
        """The answer that somebody else has cached meanwhile."""
        try:
            found, _ = self._served(self._read(key), key, context)
        except CheckoutError:
            return None  # then it is computed once more
        return None if found is None else _encoder.encode(found.value)

    def _computed(self, key: str, context: str | None, compute: Callable[[], Any], seen: _Seen) -> bytes:
        """A computed answer as JSON; each waiting caller decodes an object of its own."""
        value = self._checked(compute())
        try:
            self._write(key, context, value, seen)
        except CheckoutError as error:
            self._tell("answers are not cached", error)
        return value

    def _checked(self, value: Any) -> bytes:
        """The value as JSON, so that a hit and a miss are the same."""
        plain = plain_json(value)
        self.check(plain)
        return _encoder.encode(plain)

    def _without_redis(
        self, key: str, context: str | None, compute: Callable[[], Any], away: CheckoutError, asked: int
    ) -> bytes:
        self._tell("the cache is not used", away)
        self._note("error")
        if not isinstance(away, RedisUnavailable) or isinstance(away, (RedisRefusing, RedisPoolExhausted)):
            # Other processes still reach Redis, and may invalidate without our hearing of it: keep nothing.
            return self._checked(compute())
        known = self._fallback.get((key, context))
        if known is not None:
            return known

        def computed() -> bytes:
            answer = self._checked(compute())
            lifetime = self._jittered(msgspec.json.decode(answer))
            self._fallback.keep((key, context), answer, lifetime, asked)
            return answer

        found: bytes = self._flights.run((key, context, self._fallback.forgotten), computed)
        return found

    def _tell(self, what: str, error: CheckoutError) -> None:
        """Log a trouble: an outage as information, anything else once as a warning."""
        level = logging.INFO if isinstance(error, RedisUnavailable) or self._warned else logging.WARNING
        self._warned = self._warned or level == logging.WARNING
        _log.log(level, "%s cache: %s: %s", self.name, what, error)

    def _read(self, key: str) -> _Seen:
        """The generation and the entry, in one round trip; raises ``RedisUnavailable``, ``AccessDenied``."""
        identity, (text, raw) = self._redis.exchange(("GET", self.generation_key), _entry_of(encoded(key)))
        generation = self._generation(text, identity)
        return _Seen(generation, *_answers_of(raw))

    def _generation(self, text: object, identity: bytes | None) -> Generation:
        text = value_of(text, WrongKeyType)
        for _ in range(ATTEMPTS):
            generation = parsed(text, identity)
            if generation is not None:
                return generation
            identity, (text,) = self._redis.exchange(begin(self.generation_key, self._tokens(), text))
        raise WrongKeyType(f"another program keeps writing {self.generation_key}")

    def _problem(self, answer: Stored, key: str, generation: Generation) -> Problem | None:
        names = self.names_of(key)
        problem = generation.problem(answer.generation, lambda scope: self.covers(scope, names))
        if problem is None and (milliseconds_of(answer.expires_at) or 0) <= self._clock.wall():
            return Problem.EXPIRED
        return problem

    def _note(self, outcome: str) -> None:
        self._bookkeeping.note(f"{self.name}:{outcome}")

    # Writing

    def _write(self, key: str, context: str | None, answer: bytes, seen: _Seen) -> None:
        """Cache an answer under the generation that was seen before it was computed."""
        now, value = self._clock.wall(), msgspec.json.decode(answer)
        ends_at = now + int(self._jittered(value) * 1000)
        fresh = Stored(seen.generation.stamp, iso(now), iso(ends_at), value, context)
        others = [
            answer
            for answer in seen.answers
            if answer.context != context and self._problem(answer, key, seen.generation) is None
        ]
        answers = [fresh, *others[: self.most_answers - 1]]
        while len(body := _encoder.encode(_Document(answers))) > LARGEST_ENTRY:
            if len(answers) == 1:
                raise InvalidInput(f"{len(body):,} bytes are too large for a cache", hint="answer with less")
            answers.pop()
        longest = max(milliseconds_of(answer.expires_at) or 0 for answer in answers) - now
        self._redis.ask(("SET", encoded(key), body, "PX", longest))

    def _jittered(self, value: Any) -> float:
        return self.lifetime(value) * (1 + JITTER * (2 * self._chance() - 1))

    def _put(self, key: str, context: str | None, value: Any) -> None:
        """Cache an answer for everybody, as if just computed; raises as ``_write``."""
        self._write(key, context, self._checked(value), self._read(key))

    # Invalidating

    def invalidate_all(self) -> None:
        """Let no process serve an answer whose computation began before; where it raises, it must be repeated."""
        self._invalidate("")

    def _invalidate(self, scope: str) -> None:
        self._fallback.forget()
        try:
            self._redis.ask(invalidate(self.generation_key, self._tokens(), scope, self._remembered))
        except RedisRefusing:  # out of memory, Redis still deletes; without a generation, no answer is served
            self._redis.ask(("DEL", self.generation_key))

    # For operators: nothing here counts or computes

    def look_at_all(self, keys: Sequence[bytes]) -> list[CacheEntry]:
        """The entries at some of the cache's keys; raises ``RedisUnavailable``, ``AccessDenied``."""
        found: list[CacheEntry] = []
        for start in range(0, len(keys), KEYS_AT_ONCE // 3):
            found += self._look(keys[start : start + KEYS_AT_ONCE // 3])
        return found

    def _look(self, keys: Sequence[bytes]) -> Iterable[CacheEntry]:
        parts = [part for key in keys for part in (_entry_of(key), ("PTTL", key), ("STRLEN", key))]
        identity, (text, *replies) = self._redis.exchange(("GET", self.generation_key), *parts)
        untold = self._redis.is_cluster and isinstance(text, RedisUnavailable)  # then nobody is served
        generation = None  # none is begun: this only reads
        if not untold:
            generation = parsed(value_of(text, WrongKeyType), identity) or _NO_GENERATION
        for key, raw, ttl, size in zip(keys, replies[::3], replies[1::3], replies[2::3], strict=True):
            if value_of(ttl) == -2:
                continue
            answers, problem = _answers_of(raw)
            yield CacheEntry(
                self.name,
                decoded(key),
                self.names_of(decoded(key)),
                None if ttl < 0 else int(ttl),
                size if isinstance(size, int) else 0,
                tuple(self._shown(answer, decoded(key), generation) for answer in answers),
                problem,
            )

    def _shown(self, answer: Stored, key: str, generation: Generation | None) -> Answer:
        moments = (milliseconds_of(answer.stored_at), milliseconds_of(answer.expires_at))
        problem = Problem.UNTOLD if generation is None else self._problem(answer, key, generation)
        return Answer(answer.value, *moments, answer.context, problem)


def _entry_of(key: bytes) -> Command:
    return ("GETRANGE", key, 0, LARGEST_ENTRY)  # one byte more than an entry may have


def _answers_of(raw: Any) -> tuple[tuple[Stored, ...], Problem | None]:
    """The answers in an entry, and why there are none where another program's value is there."""
    if isinstance(raw, WrongKeyType):
        return (), Problem.WRONG_TYPE
    if not value_of(raw):
        return (), None
    if len(raw) > LARGEST_ENTRY:
        return (), Problem.TOO_LARGE
    try:
        return tuple(_decoder.decode(raw).answers), None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return (), Problem.CORRUPT


def plain_json(value: Any) -> Any:
    """The value with each ``Decimal`` as a JSON number; ``InvalidInput`` where it is too deep, or contains itself."""
    try:
        return _plain(value)
    except RecursionError:
        raise InvalidInput("nested too deeply", hint="flatten it") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def check_json(value: Any, what: str) -> None:
    """Raise ``InvalidInput`` for ``None`` and for what is no JSON, naming ``what`` and the path in it."""
    if value is None:
        raise InvalidInput(f"{what} is null", hint="an answer that nobody knows is an error, not null")
    check_fields({what: value})

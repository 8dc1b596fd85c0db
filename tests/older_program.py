"""The shop's older program, imitated: what it does to checkout sessions, beside us, on the same Redis.

It knows nothing of us. It reads a session, spreads its changes over what it read, and writes everything back, so that
members it does not know return to their places; some of its paths write an object of its own fields alone instead.

As a process, it takes its orders from stdin, one JSON object a line, and answers each with a line on stdout:
``python -m tests.older_program``, with the environment that our own settings come from.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from checkout_cli.config.addresses import split_address
from checkout_cli.session import iso, milliseconds_of
from tests.beside.lines import serve

PREFIX, INDEX, STATISTICS = "checkout:session:", "checkout:index", "checkout:stats"
LIFE = 1800
"""Seconds, of a key and of ``expiresAt``."""

FIELDS = (
    *("checkoutId", "userId", "userEmail", "items", "subtotal", "discount", "deliveryFee", "freeDeliveryQualified"),
    *("totalAmount", "cgstAmount", "sgstAmount", "addressText", "selectedAddressId", "couponCode", "contactInfo"),
    *("notes", "deliveryTiming", "deliveryDate", "deliveryTimeSlot", "estimatedDeliveryTime", "distance", "duration"),
    *("deliveryZone", "paymentStatus", "paymentAttempts", "databaseOrderId", "createdAt", "expiresAt"),
)
"""What a session has there, in the order in which it writes an object of its own."""

PATIENCE = 20.0
"""Seconds after which it gives up a server that does not answer."""
THINKING = 0.002
"""Seconds that it may take from its reading to its writing, at the most, while both sides are at work."""
PAUSE = 0.004
"""Seconds that each side may rest between two calls then, at the most."""


def parse(value: bytes) -> Any:
    """What ``JSON.parse`` makes of the bytes, as a client decodes them: every number is a double.

    Raises:
        ValueError: it does not parse.
    """
    return json.loads(
        value.decode("utf-8", "replace"), parse_int=_number, parse_float=_number, parse_constant=_no_number
    )


def _number(text: str) -> float | int | None:
    number = float(text)
    if not math.isfinite(number):
        return None  # it becomes infinite, and is written as null
    return int(Decimal(repr(number))) if number.is_integer() and abs(number) < 1e21 else number


def _no_number(name: str) -> None:
    raise ValueError(f"{name} does not parse")


def stringify(value: Any) -> bytes:
    """The bytes that ``JSON.stringify`` makes: no blanks, raw characters, half a surrogate pair as an escape."""
    in_doubles = parse(json.dumps(value).encode())
    return json.dumps(in_doubles, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")


class OlderProgram:
    """One process of it. Each method is what one of its requests does."""

    def __init__(self, client: Any, *, name: str = "it", in_cluster: bool = False) -> None:
        """``name`` begins what it writes while both sides are at work."""
        self._redis = client
        self._in_cluster = in_cluster
        self._name = name
        self._ahead = 0
        self._counts: Counter[str] = Counter()

    def wait(self, seconds: float) -> None:
        """Let time pass, as far as this program's own clock tells; Redis has another one."""
        self._ahead += round(seconds * 1000)

    def counts(self) -> dict[str, int]:
        """How often the index refused an id (``additions``, ``removals``), which the program itself never hears of."""
        return dict(self._counts)

    def _now(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead

    def get(self, checkout_id: str) -> dict[str, Any] | None:
        """A session; what does not parse, or is ``null``, is none. One whose ``expiresAt`` has passed is deleted."""
        value = self._redis.get(PREFIX + checkout_id)
        try:
            session = None if value is None else parse(value)
        except ValueError:
            return None
        if not isinstance(session, dict):
            return None
        ends = milliseconds_of(session.get("expiresAt"))
        if ends is not None and ends < self._now():
            self.delete(checkout_id)
            return None
        return session

    def create(self, checkout_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Write a new session, and enter it into the index, whatever that answers."""
        state = {"paymentStatus": "pending", "paymentAttempts": 0, "createdAt": iso(self._now())}
        session = self._write({"checkoutId": checkout_id, **fields, **state})
        try:
            self._redis.sadd(INDEX, checkout_id)
        except redis.ResponseError:
            self._counts["additions"] += 1
        for counter in ("totalCreated", "activeSessions"):
            self._redis.hincrby(STATISTICS, counter, 1)
        return session

    def update(self, checkout_id: str, changes: Mapping[str, Any], *, fresh: bool = False) -> dict[str, Any] | None:
        """Spread the changes over what is there; ``fresh`` writes its own fields alone."""
        session = self.get(checkout_id)
        return None if session is None else self._write({**session, **changes}, fresh=fresh)

    def pay(
        self, checkout_id: str, order_id: str, *, fresh: bool = False, delete: bool = False
    ) -> dict[str, Any] | None:
        """Note that an order was paid, and delete the session where this path does."""
        paid = {"paymentStatus": "paid", "databaseOrderId": order_id}
        session = self.update(checkout_id, paid, fresh=fresh)
        if session is not None:
            self._redis.hincrby(STATISTICS, "totalCompleted", 1)
            if delete:
                self.delete(checkout_id)
        return session

    def delete(self, checkout_id: str) -> None:
        """Delete a session, and take it out of the index; that it may be none of a SET's is swallowed as well."""
        self._redis.delete(PREFIX + checkout_id)
        try:
            self._redis.srem(INDEX, checkout_id)
        except redis.ResponseError:
            self._counts["removals"] += 1
        self._redis.hincrby(STATISTICS, "activeSessions", -1)

    def all(self) -> list[dict[str, Any]]:
        """All sessions, in one loop that fails as a whole.

        Raises:
            ValueError: one value does not parse, or is ``null``.
        """
        sessions = []
        for value in self._all_values():
            session = parse(value)
            if session is None:
                raise ValueError("null is no session")
            sessions.append(session)
        return sessions

    def _all_values(self) -> list[bytes]:
        if self._in_cluster:
            keys = self._redis.keys(PREFIX + "*", target_nodes=RedisCluster.PRIMARIES)
            values = self._redis.mget_nonatomic(keys) if keys else []
        else:
            keys = self._redis.keys(PREFIX + "*")
            values = self._redis.mget(keys) if keys else []
        return [value for value in values if value is not None]

    def _write(self, session: Mapping[str, Any], *, fresh: bool = False) -> dict[str, Any]:
        written = {**session, "expiresAt": iso(self._now() + LIFE * 1000)}
        if fresh:
            written = {name: written[name] for name in FIELDS if name in written}
        self._redis.execute_command("SETEX", PREFIX + str(session["checkoutId"]), LIFE, stringify(written))
        return written

    def work(
        self, sessions: Mapping[str, str], seconds: float, seed: int, *, deletions: float = 0.0, fresh: float = 0.0
    ) -> list[dict[str, Any]]:
        """Change sessions at random until the time is up; what was done, call by call, in the words of the judge.

        ``sessions`` has the field to write for each, ``-`` before it where the session may be deleted too, by this
        share of the calls; ``fresh`` is the share of the writes that keep its own fields alone.
        """
        chance, deeds = random.Random(seed), []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            checkout_id, field = chance.choice(list(sessions.items()))
            if field.startswith("-") and chance.random() < deletions:
                self.delete(checkout_id)
                deeds.append({"kind": "delete", "id": checkout_id, "at": time.monotonic(), "acked": True})
            elif (session := self.get(checkout_id)) is not None:
                field = field.removeprefix("-")
                value = f"{self._name} {len(deeds)}"
                time.sleep(chance.random() * THINKING)
                deed = {"kind": "write", "id": checkout_id, "field": field, "seen": session.get(field), "value": value}
                deed["at"] = time.monotonic()
                self._write({**session, field: value}, fresh=chance.random() < fresh)
                deeds.append({**deed, "acked": True})
            time.sleep(chance.random() * PAUSE)
        return deeds


class Persistent:
    """A client as the shop's: it connects again by itself, and repeats what was not answered.

    redis-py's own retries would ask the same server again, where a Sentinel names another one by now.
    """

    def __init__(self, client: Any) -> None:
        """``client`` gives up at the first failure."""
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A command of the client."""
        return partial(self._repeated, getattr(self._client, name))

    @staticmethod
    def _repeated(command: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return command(*arguments, **options)
            except (redis.ConnectionError, redis.TimeoutError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def program_of(environment: Mapping[str, str]) -> OlderProgram:
    """The program on the servers that our own settings would name."""
    options: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 5, "protocol": 2}
    host, port, name = environment["REDIS_HOST"], int(environment["REDIS_PORT"]), environment["PARTY"]
    if environment.get("REDIS_MODE") == "cluster":
        client: Any = RedisCluster(startup_nodes=[ClusterNode(host, port)], **options)
        return OlderProgram(Persistent(client), name=name, in_cluster=True)
    options["retry"] = Retry(NoBackoff(), 0)
    if sentinels := environment.get("REDIS_SENTINELS"):
        addresses = [split_address(address) for address in sentinels.split(",")]
        client = Sentinel(addresses, socket_timeout=5).master_for(environment["REDIS_SENTINEL_SERVICE"], **options)
    else:
        client = redis.Redis(host=host, port=port, **options)
    return OlderProgram(Persistent(client), name=name)


if __name__ == "__main__":
    serve(program_of(os.environ), failures=(RedisError, ValueError))

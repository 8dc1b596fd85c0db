"""What the tests of counting and tracking share: reading the books, and interrupting who writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from checkout_cli.domain.statistics import FLUSHED
from checkout_cli.keys import MINUTE_PREFIX, user_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import send_counts

USER = "user-1"
HANDED_OVER_BY_NOW = 5.0
"""Seconds after which any process publishes what another has left pending."""


def hash_at(store: CheckoutStore, key: str) -> dict[str, str]:
    send_counts()
    reply = store.redis.ask(("HGETALL", key))
    return {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}


def minutes(store: CheckoutStore) -> Counter[str]:
    """All minutes' figures together."""
    send_counts()
    figures: Counter[str] = Counter()
    for key in store.redis.ask(("KEYS", f"{MINUTE_PREFIX}[0-9]*")):
        figures.update({name: int(value) for name, value in hash_at(store, key.decode()).items()})
    return figures


def counted(store: CheckoutStore) -> dict[str, int]:
    """The transitions among them."""
    return {name: number for name, number in minutes(store).items() if ":" not in name and name != FLUSHED}


def times(store: CheckoutStore) -> dict[str, int]:
    """The call times among them."""
    return {name: number for name, number in minutes(store).items() if ":" in name}


def by_tier(store: CheckoutStore) -> dict[str, int]:
    """All minutes' reads and writes by tier."""
    send_counts()
    figures: Counter[str] = Counter()
    for key in store.redis.ask(("KEYS", f"{MINUTE_PREFIX}tiers:*")):
        figures.update({name: int(value) for name, value in hash_at(store, key.decode()).items()})
    return dict(figures)


def user(store: CheckoutStore, user_id: str = USER) -> dict[str, str]:
    return hash_at(store, user_key(user_id))


def meanwhile(target: Any, name: str, work: Callable[[], object]) -> None:
    """Do some work just before the next call of a method."""
    original = getattr(target, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        setattr(target, name, original)
        work()
        return original(*arguments, **options)

    setattr(target, name, interrupted)

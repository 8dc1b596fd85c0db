"""One round trip never asks for more bytes than an exchange may bring, and large values are never fetched."""

from __future__ import annotations

import pytest

from checkout_cli.commands.serve.management import sessions_page
from checkout_cli.commands.sessions.export import export
from checkout_cli.errors import RedisUnavailable
from checkout_cli.keys import INDEX, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Problem
from checkout_cli.store.redis import portions
from checkout_cli.store.redis.opened import LARGEST_VALUE

LARGE = 80
"""As many of the largest sessions as are more than an exchange may bring."""


@pytest.fixture
def large(store: CheckoutStore) -> list[str]:
    body = b'{"totalAmount":1,"notes":"%s"}'
    names = [f"large-session-{number:03}" for number in range(LARGE)]
    value = body % (b"x" * (LARGEST_VALUE - len(body)))
    for name in names:
        store.redis.ask_all(
            ("SET", session_key(name), value, "PX", 600_000), ("ZADD", INDEX, store.clock.wall() + 600_000, name)
        )
    store.redis.ask(("SET", session_key("too-large-session"), b"x" * (70 * 2**20)))
    store.redis.ask(("ZADD", INDEX, store.clock.wall() + 600_000, "too-large-session"))
    return names


def test_pages_of_large_sessions_are_read(store: CheckoutStore, large: list[str]) -> None:
    looks = store.redis.look([*large, "too-large-session"])
    assert all(look.value for look in looks[:-1])
    assert looks[-1].problem is Problem.TOO_LARGE
    pages = list(export(store, tell=lambda _: None))
    assert sorted(session.checkout_id for page in pages for session in page.sessions) == large
    assert sum(page.unreadable for page in pages) == 1
    assert len(sessions_page(store, limit=500, cursor=None)[0]) == LARGE


def test_without_portions_they_would_not_be(
    store: CheckoutStore, large: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "MOST_AT_ONCE", 2**30)
    with pytest.raises(RedisUnavailable):
        store.redis.look(large)

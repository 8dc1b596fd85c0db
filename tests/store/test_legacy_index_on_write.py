"""What a write does when an older program's SET lies where the index belongs."""

from __future__ import annotations

from checkout_cli.keys import INDEX, LEGACY_INDEX, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.servers import ValkeyServer


def _foreign(valkey: ValkeyServer, checkout_id: str) -> None:
    valkey.client().set(session_key(checkout_id), f'{{"checkoutId":"{checkout_id}","items":[]}}', ex=1000)
    valkey.client().sadd(INDEX, checkout_id)


def test_a_write_moves_the_set_aside_and_every_session_stays_listed_and_counted(
    store: CheckoutStore, valkey: ValkeyServer
) -> None:
    _foreign(valkey, "foreign-1")
    _foreign(valkey, "foreign-2")
    ours = store.create({"items": []}).session.checkout_id

    assert {sighting.checkout_id for sighting in store.iterate()} == {"foreign-1", "foreign-2", ours}
    assert store.count().number == 3
    assert valkey.client().type(INDEX) == b"zset"
    assert valkey.client().smembers(LEGACY_INDEX) == {b"foreign-1", b"foreign-2"}


def test_something_that_is_no_index_is_left_alone_and_the_write_is_published(
    store: CheckoutStore, valkey: ValkeyServer
) -> None:
    valkey.client().set(INDEX, "somebody's own")

    acknowledged = store.create({"items": []})

    assert acknowledged.published
    assert valkey.client().get(INDEX) == b"somebody's own"

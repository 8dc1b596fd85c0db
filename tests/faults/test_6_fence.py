"""The fence against an old primary: what it prevents, shown by taking it away; and a failover as a shop lives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import sqlalchemy

from checkout_cli.config.settings import Settings
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.lease import Lease
from checkout_cli.store.records import Epoch
from tests.faults.harness import ID, Shop, part, trusted_again
from tests.support.sentinel import Replicated
from tests.support.stores import ManualClock, make_tables, wait_until


def published_version(store: CheckoutStore) -> int:
    with store.database.transaction() as connection:
        text = sqlalchemy.text("SELECT published_version FROM checkoutctl_sessions WHERE checkout_id = :id")
        return int(connection.execute(text, {"id": ID}).scalar_one())


def write_on_the_old_primary(shop: Shop, replicated: Replicated, clock: ManualClock) -> CheckoutStore:
    """A process that does not know of the failover yet publishes there; returns one that is on the new primary."""
    left = shop.process()
    shop.create(left)
    assert trusted_again(shop, left)
    with replicated.first.client() as client:
        client.wait(1, 2000)
    part(replicated)
    moved = shop.process()
    assert trusted_again(shop, moved)
    assert shop.update(left).published, "the old primary took it"
    clock.advance(1.01)
    shop.get(left)  # writes down what it knows: that this version is published
    return moved


@pytest.mark.fault("8 Sentinel")
def test_what_the_old_primary_has_is_not_marked_as_published(
    replicated: Replicated, settings_behind_sentinel: Settings, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_behind_sentinel)
    moved = write_on_the_old_primary(shop, replicated, clock)
    assert published_version(moved) < 2
    assert shop.get(moved).version == 2
    reader = shop.process()
    clock.advance(3)  # the row is pending, and so the new primary gets it
    assert trusted_again(shop, reader)
    assert shop.get(reader).version == 2


@pytest.mark.fault("11 negative controls")
def test_without_the_fence_the_new_primary_is_read_stale(
    replicated: Replicated,
    settings_behind_sentinel: Settings,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted = DatabaseAdmin.note_published

    def whichever_epoch(tier: DatabaseAdmin, versions: Mapping[str, int], _: Epoch | None = None) -> None:
        noted(tier, versions)

    monkeypatch.setattr(Lease, "is_fenced_off", lambda *_: False)
    monkeypatch.setattr(DatabaseAdmin, "note_published", whichever_epoch)
    shop = Shop(settings_behind_sentinel, clock)
    make_tables(shop.process().database)
    try:
        moved = write_on_the_old_primary(shop, replicated, clock)
        assert published_version(moved) == 2
        with pytest.raises(AssertionError, match="a stale read from redis"):
            shop.get(moved)
    finally:
        shop.close()


@pytest.mark.fault("failover")
def test_a_shop_that_goes_on_during_a_failover_is_never_stale_and_soon_published_again(
    replicated: Replicated, settings_behind_sentinel: Settings, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_behind_sentinel)
    writer, reader = shop.process(), shop.process()
    shop.create(writer)
    assert trusted_again(shop, reader)
    with replicated.first.client() as client:
        client.wait(1, 2000)
    replicated.first.kill()

    def goes_on() -> bool:
        clock.advance(0.3)
        published = shop.update(writer).published
        from_redis = shop.get(writer).tier is TierName.REDIS
        shop.get(reader)
        return published and from_redis

    wait_until(goes_on, 20)
    assert trusted_again(shop, reader)
    assert replicated.primary_port() == replicated.second.port
    with writer.database.transaction() as connection:
        epochs = (
            connection.execute(sqlalchemy.text("SELECT stamp FROM checkoutctl_reigns ORDER BY number")).scalars().all()
        )
    assert len(set(epochs)) == len(epochs) >= 2
    with replicated.second.client() as client:
        assert epochs[-1].startswith(client.info("server")["run_id"])

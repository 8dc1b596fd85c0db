"""What Redis has lost is told from what it never had, and from what somebody deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkout_cli.commands.health.health import HealthCheck, Status
from checkout_cli.commands.migrate.checkpoint import CheckpointFile
from checkout_cli.commands.migrate.run import migrate
from checkout_cli.commands.sessions.index import check_index, repair_index
from checkout_cli.commands.sync.sync import synchronize
from checkout_cli.keys import session_key
from checkout_cli.store import database_only as module
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database_only import DatabaseOnly, database_only

NOON = 1_764_590_400_000


def fill(store: CheckoutStore, number: int) -> list[str]:
    names = [f"session-{one:04}" for one in range(number)]
    for name in names:
        store.create({"totalAmount": 1}, checkout_id=name)
    store.notes.write_down()
    return names


def found(store: CheckoutStore) -> DatabaseOnly:
    return database_only(store.redis, store.database, store.index, store.clock.wall())


def test_what_both_tiers_have_is_no_loss(store: CheckoutStore) -> None:
    fill(store, 7)
    assert found(store) == DatabaseOnly(0, 7)


@pytest.mark.parametrize("number", [1, 3, 130])
def test_an_emptied_redis_is_a_loss_of_all(store: CheckoutStore, number: int) -> None:
    fill(store, number)
    store.redis.ask(("FLUSHALL",))
    lost = found(store)
    assert (lost.number, lost.is_loss, lost.exact) == (number, True, True)


def test_the_count_has_an_end(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 5)
    monkeypatch.setattr(module, "PAGE", 5)
    monkeypatch.setattr(module, "MOST_COUNTED", 10)
    fill(store, 30)
    store.redis.ask(("FLUSHALL",))
    lost = found(store)
    assert (lost.number, lost.exact) == (10, False)
    assert "10 or more sessions" in lost.in_words(NOON, None)


def test_single_keys_that_were_deleted_are_no_loss(store: CheckoutStore) -> None:
    names = fill(store, 10)
    for name in names[:4]:
        store.redis.ask(("DEL", session_key(name)))
    assert (found(store).number, found(store).is_loss) == (4, False)
    store.redis.ask(("DEL", *map(session_key, names[4:])))
    assert found(store).is_loss


def test_checkouts_that_have_ended_are_not_missed(store: CheckoutStore) -> None:
    for name in fill(store, 6):
        store.update(name, {"paymentStatus": "processing"})
        store.update(name, {"paymentStatus": "paid"})
        store.redis.ask(("DEL", session_key(name)))
    assert found(store).number == 0


def test_rows_that_wait_for_redis_are_the_backlogs(store: CheckoutStore) -> None:
    fill(store, 6)
    with store.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE checkoutctl_sessions SET published_version = 0")
    store.redis.ask(("FLUSHALL",))
    assert found(store).number == 0


def test_it_is_told_since_when() -> None:
    lost = DatabaseOnly(300, 300, NOON, is_loss=True)
    assert lost.in_words(NOON + 60_000, 10**6) == (
        "Redis was emptied since 12:00 UTC, 300 sessions are in the database only"
    )
    assert "since 12:30 UTC" in lost.in_words(NOON + 3_600_000, 1800)  # the server has started later
    assert "since 2025-12-01 12:00 UTC" in lost.in_words(NOON + 2 * 86_400_000, None)


def test_health_the_index_and_sync_say_so_until_a_migration(store: CheckoutStore, tmp_path: Path) -> None:
    def looked() -> tuple[Status, str]:
        report = HealthCheck(lambda: store.settings).look()
        return report.status, report.next_step

    fill(store, 6)
    assert (looked(), check_index(store).is_sound) == ((Status.HEALTHY, ""), True)
    store.redis.ask(("FLUSHALL",))
    assert looked() == (Status.DEGRADED, "checkoutctl migrate run")
    checked = check_index(store)
    assert (checked.is_sound, checked.has_finding, checked.next_step) == (False, True, "checkoutctl migrate run")
    repaired = repair_index(store)
    assert (repaired.has_finding, repaired.next_step) == (True, "checkoutctl migrate run")
    assert synchronize(store).database_only.number == 6
    migrate(store, CheckpointFile(tmp_path))
    assert (looked(), check_index(store).is_sound) == ((Status.HEALTHY, ""), True)
    assert synchronize(store).database_only.number == 0

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.clock import Clock
from checkout_cli.commands.setup.probe import LIFE, ProbeFailed, probe_database, probe_memory, probe_redis
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, RedisInsufficient, RedisUnavailable
from checkout_cli.keys import INDEX
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.memory_tier import MemoryTier
from tests.support.servers import ValkeyServer

PROBE = "checkoutctl-probe-01234567-89ab-4cde-8f01-23456789abcd"


class FakeTime(Clock):
    """Passes only by being slept."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000.0
        super().__init__(lambda: int(self.now), lambda: self.now / 1000, self._pass)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _pass(self, seconds: float) -> None:
        self.now += seconds * 1000


def keys_of(server: ValkeyServer) -> list[bytes]:
    with server.client() as client:
        return sorted(client.keys())


def test_redis_is_proven_by_a_real_expiry_and_left_as_it_was(settings: Settings, valkey: ValkeyServer) -> None:
    proof = probe_redis(settings, PROBE, Clock())
    assert proof >= LIFE - 0.05
    assert keys_of(valkey) == []


def test_the_probe_leaves_other_sessions_and_a_legacy_index_alone(settings: Settings, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.set("checkout:session:theirs-1", "{}", ex=1000)
        client.sadd(INDEX, "theirs-1")
        probe_redis(settings, PROBE, Clock())
        assert client.smembers(INDEX) == {b"theirs-1"}
    assert keys_of(valkey) == [INDEX.encode(), b"checkout:session:theirs-1"]


def test_a_slow_connection_gets_a_longer_life(settings: Settings) -> None:
    assert probe_redis(settings, PROBE, Clock(), round_trip=0.03) > 0.5


def test_a_session_that_does_not_expire_is_a_failure_in_bounded_time(
    settings: Settings, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout_cli.commands.setup.probe._value", lambda *_: b"{}")
    with pytest.raises(ProbeFailed, match="still there"):
        probe_redis(settings, PROBE, FakeTime())
    assert keys_of(valkey) == []


def test_a_user_who_may_not_write_is_told_so_and_leaves_nothing(
    settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    with server.client() as client:
        rules = ("on", ">hush", "resetkeys", "%R~*", "-@all", "+get", "+strlen", "+pttl", "+ping", "+info")
        client.execute_command("ACL", "SETUSER", "reader", *rules)
    reader = replace(settings, redis_port=server.port, redis_username="reader", redis_password="hush")
    with pytest.raises(RedisInsufficient, match="evalsha"):
        probe_redis(reader, PROBE, Clock())
    assert keys_of(server) == []


def test_a_redis_that_is_away_is_an_error(settings: Settings, valkey_server: Callable[..., ValkeyServer]) -> None:
    server = valkey_server()
    server.kill()
    with pytest.raises(RedisUnavailable):
        probe_redis(replace(settings, redis_port=server.port), PROBE, Clock())


@pytest.fixture(params=["sqlite", "postgres"])
def any_database(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "sqlite":
        return settings
    return replace(settings, database_url=request.getfixturevalue("postgres_url"))


def test_the_database_is_proven_and_its_totals_stay_as_they_were(any_database: Settings) -> None:
    with CheckoutStore.open(any_database) as store:
        store.database.create_schema()
        store.create({"items": [], "totalAmount": 1}, checkout_id="shopper-1")
        before = store.database.totals()
        proof = probe_database(store.database, PROBE, Clock())
        assert proof >= LIFE - 0.05
        assert store.database.totals() == before
        assert store.database.read(PROBE) is None
        assert [record.checkout_id for page in store.database.newest() for record in page] == ["shopper-1"]


def test_a_database_that_loses_what_it_accepts_is_a_failure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = DatabaseAdmin(settings)
    tier.create_schema()
    monkeypatch.setattr(tier, "insert", lambda *_, **__: True)
    with pytest.raises(ProbeFailed, match="does not have it"):
        probe_database(tier, PROBE, FakeTime())
    tier.close()


def test_a_database_without_tables_is_an_error(settings: Settings, tmp_path: Path) -> None:
    tier = DatabaseAdmin(settings)
    with pytest.raises(CheckoutError, match="no database"):
        probe_database(tier, PROBE, FakeTime())
    tier.close()
    assert not (tmp_path / "checkout.db").exists()


def test_memory_is_proven() -> None:
    assert probe_memory(PROBE, FakeTime()) == pytest.approx(LIFE, abs=0.03)


def test_a_memory_that_never_forgets_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryTier, "read", lambda tier, name, _: tier._kept.get(name))
    with pytest.raises(ProbeFailed, match="still there"):
        probe_memory(PROBE, FakeTime())

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.commands.memory import tune as memory_tune
from checkout_cli.commands.memory.limits import MEBIBYTE, Limits
from checkout_cli.commands.memory.outlook import outlook, state_of
from checkout_cli.commands.memory.tune import (
    NothingToUndo,
    TuneFailed,
    TuneRefused,
    Tuning,
    UndoFile,
    look,
    set_limits,
    tune,
    undo_last,
)
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, RedisRefusing, RedisUnavailable
from checkout_cli.servers.embedded import HOST, valkey_binary
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.odd_servers import OddServer
from tests.support.servers import RedisServer, ValkeyServer
from tests.support.stores import make_tables

Start = Callable[..., ValkeyServer]
KINDS = [ValkeyServer, pytest.param(RedisServer, marks=pytest.mark.needs("redis-server"))]
WANTED = Limits(256 * MEBIBYTE, "volatile-ttl", 7)


def yes(_: Tuning) -> bool:
    return True


def no(_: Tuning) -> bool:
    return False


@contextmanager
def store_of(server: ValkeyServer, directory: Path) -> Iterator[CheckoutStore]:
    settings = Settings(
        redis_host=HOST, redis_port=server.port, database_url=f"sqlite:///{directory / 'tune.db'}", timeout=2
    )
    with CheckoutStore.open(settings) as store:
        make_tables(store.database)
        yield store


def said_by(server: ValkeyServer) -> Limits:
    with server.client() as client:
        return Limits.of({name: str(value) for name, value in client.config_get("maxmemory*").items()})


def fill(store: CheckoutStore, sessions: int = 100) -> None:
    for number in range(sessions):
        store.create({"userId": f"user-{number}", "notes": "x" * 4000}, checkout_id=f"session-{number:04}")


class Configured(ValkeyServer):
    """One with a configuration file, which has to come first on its command line."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        directory.mkdir(parents=True)
        self.file = directory / "valkey.conf"
        self.file.write_text("# ours\nmaxclients 100\n")
        starter = directory / "start"
        starter.write_text(f'#!/bin/sh\nexec "{valkey_binary()}" "{self.file}" "$@"\n')
        starter.chmod(0o700)
        super().__init__(directory, *arguments, binary=starter)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_changed_is_what_the_server_says_afterwards(
    kind: type[ValkeyServer], valkey_server: Start, tmp_path: Path
) -> None:
    server, record = valkey_server(kind=kind), UndoFile(tmp_path / "state")
    before = said_by(server)
    with store_of(server, tmp_path) as store:
        done = tune(store, WANTED, agreed=yes, undo=record)
        assert done.agreed
        assert done.steps[0].now == said_by(server) == WANTED
        assert stat.S_IMODE(record.path.stat().st_mode) == 0o600
        undone = undo_last(store, agreed=yes, undo=record)
        assert undone.steps[0].now == said_by(server) == before
        with pytest.raises(NothingToUndo):
            undo_last(store, agreed=yes, undo=record)


def test_without_consent_nothing_is_changed_and_nothing_recorded(valkey_server: Start, tmp_path: Path) -> None:
    server, record = valkey_server(), UndoFile(tmp_path / "state")
    before = said_by(server)
    with store_of(server, tmp_path) as store:
        assert not tune(store, WANTED, agreed=no, undo=record).agreed
    assert said_by(server) == before
    assert not record.path.exists()


def test_nobody_is_asked_where_nothing_would_change(valkey_server: Start, tmp_path: Path) -> None:
    server = valkey_server("--maxmemory-policy", "volatile-ttl")

    def never(_: Tuning) -> bool:
        raise AssertionError("asked")

    with store_of(server, tmp_path) as store:
        assert not tune(store, Limits(policy="volatile-ttl"), agreed=never).anything_to_do


def test_a_record_that_cannot_be_written_keeps_everything_as_it_was(valkey_server: Start, tmp_path: Path) -> None:
    server, obstacle = valkey_server(), tmp_path / "file"
    obstacle.write_text("")
    before = said_by(server)
    with store_of(server, tmp_path) as store, pytest.raises(CheckoutError, match="record for --undo"):
        tune(store, WANTED, agreed=yes, undo=UndoFile(obstacle))
    assert said_by(server) == before


def test_a_change_that_the_server_does_not_confirm_is_an_error(
    valkey_server: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = valkey_server()
    monkeypatch.setattr(memory_tune, "set_limits", lambda *_: None)  # as if another program set it back at once
    with store_of(server, tmp_path) as store, pytest.raises(CheckoutError, match=r"accepted maxmemory .* now says"):
        tune(store, WANTED, agreed=yes, undo=UndoFile(tmp_path / "state"))


def test_undo_leaves_alone_what_others_have_changed_since(valkey_server: Start, tmp_path: Path) -> None:
    server, record = valkey_server(), UndoFile(tmp_path / "state")
    before = said_by(server)
    with store_of(server, tmp_path) as store:
        tune(store, Limits(256 * MEBIBYTE, "volatile-ttl"), agreed=yes, undo=record)
        with server.client() as client:
            client.config_set("maxmemory", "300mb")
        with pytest.raises(TuneRefused, match="no longer as we left it"):
            undo_last(store, agreed=yes, undo=record)
        assert said_by(server).maxmemory == 300 * MEBIBYTE
        undo_last(store, agreed=yes, force=True, undo=record)
    assert said_by(server) == before


def test_undo_after_a_restart_that_lost_it_has_nothing_to_do(valkey_server: Start, tmp_path: Path) -> None:
    server, record = valkey_server(), UndoFile(tmp_path / "state")
    with store_of(server, tmp_path) as store:
        tune(store, WANTED, agreed=yes, undo=record)
    server.kill()
    server.start()
    with store_of(server, tmp_path) as store:
        assert not undo_last(store, agreed=no, undo=record).anything_to_do


def test_a_server_that_hangs_on_the_way_may_have_changed_and_can_still_be_undone(
    valkey_server: Start, tmp_path: Path
) -> None:
    server, record = valkey_server(), UndoFile(tmp_path / "state")

    def hang(_: Tuning) -> bool:
        server.pause()
        return True

    with store_of(server, tmp_path) as store, pytest.raises(RedisUnavailable, match="is not known"):
        tune(store, WANTED, agreed=hang, undo=record)
    assert record.last(f"{HOST}:{server.port}") is not None
    server.resume()
    with store_of(server, tmp_path) as store:  # the command was read once it went on
        undo_last(store, agreed=yes, undo=record)
    assert said_by(server).maxmemory == 0


def test_what_the_server_refuses_leaves_the_earlier_record(valkey_server: Start, tmp_path: Path) -> None:
    server, record = valkey_server(), UndoFile(tmp_path / "state")
    with store_of(server, tmp_path) as store:
        tune(store, Limits(policy="volatile-ttl"), agreed=yes, undo=record)
        earlier = record.last(f"{HOST}:{server.port}")
        with pytest.raises(RedisRefusing, match="nothing was changed") as refused:
            tune(store, Limits(policy="never-heard-of", samples=7), agreed=yes, undo=record)
        assert "maxmemory-policy" in refused.value.hint
    assert earlier is not None
    assert record.last(f"{HOST}:{server.port}") == earlier
    assert said_by(server).samples == 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_under_what_is_in_use_is_refused_and_forced_it_evicts(
    kind: type[ValkeyServer], valkey_server: Start, tmp_path: Path
) -> None:
    server, record = valkey_server(kind=kind), UndoFile(tmp_path / "state")
    with store_of(server, tmp_path) as store, server.client() as client:
        fill(store)
        before, keys = said_by(server), client.dbsize()
        used = look(store).steps[0].state.counted
        assert used is not None
        wanted = Limits(used - 200_000, "allkeys-lru")
        with pytest.raises(TuneRefused, match=r"about .* sessions") as refused:
            tune(store, wanted, agreed=yes, undo=record)
        assert "--force" in refused.value.hint
        assert (said_by(server), client.dbsize()) == (before, keys)
        tune(store, wanted, agreed=yes, force=True, undo=record)
        assert said_by(server).agrees_with(wanted)
        client.set("one-more", "x")  # Redis evicts before it runs a command
        evicted = client.info("stats")["evicted_keys"]
        assert evicted > 0


def test_how_many_sessions_would_go_is_near_what_really_goes(valkey_server: Start, tmp_path: Path) -> None:
    server = valkey_server()
    with store_of(server, tmp_path) as store, server.client() as client:
        fill(store, 300)
        state = state_of(store.redis.servers()[0])
        assert state.counted is not None
        limits = Limits(state.counted - 600_000, "volatile-lru")
        told = outlook(state, limits).sessions
        tune(store, limits, agreed=yes, force=True, undo=UndoFile(tmp_path / "state"))
        client.set("one-more", "x")  # Redis evicts before it runs a command
        gone = 300 - sum(client.exists(f"checkout:session:session-{number:04}") for number in range(300))
        assert told is not None
        assert 0.5 * gone <= told <= 1.5 * gone


def test_a_policy_that_evicts_is_refused_on_a_full_server_too(tmp_path: Path, valkey_server: Start) -> None:
    server = valkey_server()
    with store_of(server, tmp_path) as store, server.client() as client:
        fill(store)
        used = look(store).steps[0].state.counted
        assert used is not None
        client.config_set("maxmemory", used - 100_000)
        with pytest.raises(TuneRefused):
            tune(store, Limits(policy="allkeys-lru"), agreed=yes, undo=UndoFile(tmp_path / "state"))
        done = tune(store, Limits(used * 2, "allkeys-lru"), agreed=yes, undo=UndoFile(tmp_path / "state"))
        assert done.agreed
        assert client.info("stats")["evicted_keys"] == 0  # the limit rose with it


def test_persisted_it_survives_a_restart_and_else_it_is_lost(valkey_server: Start, tmp_path: Path) -> None:
    server, record = valkey_server(kind=Configured), UndoFile(tmp_path / "state")
    with store_of(server, tmp_path) as store:
        kept = tune(store, WANTED, agreed=yes, persist=True, undo=record).steps[0].persisted
    assert kept is not None
    assert kept.done
    assert isinstance(server, Configured)
    assert kept.file == str(server.file)
    server.kill()
    server.start()
    assert said_by(server) == WANTED
    with store_of(server, tmp_path) as store:
        tune(store, Limits(maxmemory=512 * MEBIBYTE), agreed=yes, undo=record)
    server.kill()
    server.start()
    assert said_by(server) == WANTED
    with store_of(server, tmp_path) as store, pytest.raises(TuneRefused, match="restarted since"):
        undo_last(store, agreed=yes, undo=UndoFile(_with_other_values(record)))


def _with_other_values(record: UndoFile) -> Path:
    """The same record, of a change from and to other values."""
    text = record.path.read_text().replace(str(256 * MEBIBYTE), "777777777")
    record.path.write_text(text)
    return record.path.parent


def test_without_a_file_it_says_which_lines_belong_where(valkey_server: Start, tmp_path: Path) -> None:
    server = valkey_server()
    with store_of(server, tmp_path) as store:
        done = tune(store, WANTED, agreed=yes, persist=True, undo=UndoFile(tmp_path / "state"))
    kept = done.steps[0].persisted
    assert kept is not None
    assert not done.all_persisted
    assert "without a configuration file" in kept.reason
    assert kept.lines == ("maxmemory 268435456", "maxmemory-policy volatile-ttl")
    assert said_by(server) == WANTED


def test_a_file_that_cannot_be_written_is_told_with_the_servers_reason(valkey_server: Start, tmp_path: Path) -> None:
    server = valkey_server(kind=Configured)
    assert isinstance(server, Configured)
    server.file.unlink()
    server.file.mkdir()  # for root too, which no mode would stop
    with store_of(server, tmp_path) as store:
        kept = tune(store, WANTED, agreed=yes, persist=True, undo=UndoFile(tmp_path / "state")).steps[0].persisted
    assert kept is not None
    assert (kept.done, kept.file) == (False, str(server.file))
    assert "config" in kept.reason.lower()


@pytest.mark.parametrize("rule", ["-config|set", "-config|rewrite"])
def test_a_denied_part_of_config_is_told_and_changes_nothing(rule: str, valkey_server: Start, tmp_path: Path) -> None:
    server, record = valkey_server(kind=Configured), UndoFile(tmp_path / "state")
    before = said_by(server)
    with store_of(server, tmp_path) as store, server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", rule)
        if rule == "-config|set":
            with pytest.raises(CommandDenied, match=r"\+config\|set"):
                tune(store, WANTED, agreed=yes, undo=record)
            assert said_by(server) == before
            assert record.last(f"{HOST}:{server.port}") is None
        else:
            kept = tune(store, WANTED, agreed=yes, persist=True, undo=record).steps[0].persisted
            assert kept is not None
            assert kept.reason == "this user may not write it: needs +config|rewrite"


@pytest.mark.parametrize("odd", ["no CONFIG", "denied CONFIG"], indirect=True)
def test_without_config_it_still_shows_and_says_where_the_setting_lives(odd: OddServer, tmp_path: Path) -> None:
    with CheckoutStore.open(odd.settings()) as store:
        state = look(store).steps[0].state
        assert (state.limits.maxmemory, state.limits.policy) == (0, "noeviction")
        expected = CommandUnknown if odd.name == "no CONFIG" else CommandDenied
        with pytest.raises(expected) as refused:
            tune(store, WANTED, agreed=yes, undo=UndoFile(tmp_path / "state"))
    assert "nothing was changed" in str(refused.value)
    assert ("provider" if odd.name == "no CONFIG" else "ACL SETUSER") in refused.value.hint


@pytest.mark.parametrize("odd", ["no INFO", "denied INFO"], indirect=True)
def test_a_limit_is_not_set_blindly_where_nobody_knows_what_is_in_use(odd: OddServer, tmp_path: Path) -> None:
    with CheckoutStore.open(odd.settings()) as store:
        with pytest.raises(TuneRefused, match="does not tell"):
            tune(store, WANTED, agreed=yes, undo=UndoFile(tmp_path / "state"))
        assert tune(store, WANTED, agreed=yes, force=True, undo=UndoFile(tmp_path / "state")).agreed


@pytest.mark.parametrize("odd", ["hung"], indirect=True)
def test_a_hung_server_is_away_and_nothing_else(odd: OddServer) -> None:
    with CheckoutStore.open(odd.settings()) as store, pytest.raises(RedisUnavailable):
        look(store)


class Recorder:
    """Stands for a server before 7.0, which takes one setting at a time."""

    def __init__(self, refusal: str = "Redis at x: ERR wrong number of arguments for 'config|set' command") -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._refusal = refusal

    def configure(self, settings: dict[str, str]) -> None:
        if len(settings) > 1:
            raise RedisRefusing(self._refusal)
        self.asked += settings.items()


@pytest.mark.parametrize(
    ("today", "wanted", "order"),
    [
        (Limits(100, "noeviction"), Limits(200, "allkeys-lru"), ["maxmemory", "maxmemory-policy"]),
        (Limits(100, "noeviction"), Limits(0, "allkeys-lru"), ["maxmemory", "maxmemory-policy"]),
        (Limits(200, "allkeys-lru"), Limits(100, "noeviction"), ["maxmemory-policy", "maxmemory"]),
        (Limits(0, "allkeys-lru"), Limits(100, "noeviction"), ["maxmemory-policy", "maxmemory"]),
    ],
)
def test_an_older_server_gets_them_in_an_order_that_evicts_nothing(
    today: Limits, wanted: Limits, order: list[str]
) -> None:
    server: Any = Recorder()
    set_limits(server, today, wanted)
    assert [name for name, _ in server.asked] == order


def test_a_server_that_refuses_a_value_is_not_asked_bit_by_bit() -> None:
    server: Any = Recorder("Redis at x: ERR CONFIG SET failed (possibly related to argument 'maxmemory')")
    with pytest.raises(RedisRefusing):
        set_limits(server, Limits(0, "noeviction"), WANTED)
    assert server.asked == []


def test_all_primaries_of_a_cluster_are_changed_and_each_is_undone(tmp_path: Path) -> None:
    record = UndoFile(tmp_path / "state")
    with Cluster(tmp_path / "cluster") as cluster:
        settings = Settings(
            redis_mode="cluster",
            redis_host=HOST,
            redis_port=cluster.primaries[0].port,
            database_url=f"sqlite:///{tmp_path / 'c.db'}",
            timeout=2,
        )
        with CheckoutStore.open(settings) as store:
            before = [said_by(server) for server in cluster.primaries]
            assert len(tune(store, WANTED, agreed=yes, undo=record).steps) == 3
            assert [said_by(server) for server in cluster.primaries] == [WANTED] * 3
            undo_last(store, agreed=yes, undo=record)
            assert [said_by(server) for server in cluster.primaries] == before
            places = [server.place for server in store.redis.servers()]
            cluster.primaries.sort(key=lambda server: places.index(f"{HOST}:{server.port}"))
            last = cluster.primaries[2]
            with last.client() as client:
                client.execute_command("ACL", "SETUSER", "default", "-config|set")
            with pytest.raises(TuneFailed) as failed:
                tune(store, Limits(policy="volatile-ttl"), agreed=yes, undo=record)
            assert str(failed.value).startswith(f"changed: {places[0]}, {places[1]}; not changed: {places[2]}: ")
            assert failed.value.exit_code == 4
            undo_last(store, agreed=yes, undo=record)
            assert [said_by(server) for server in cluster.primaries] == before
            last.pause()
            with pytest.raises(RedisUnavailable):
                tune(store, WANTED, agreed=yes, undo=record)
            assert all(said_by(server).maxmemory == 0 for server in cluster.primaries[:2])

"""What the store needs of a server is asked once; where something is missing, the database serves and it is said."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.keys import INDEX
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.requirements import (
    AGAIN_AFTER,
    FLUSHES,
    INDEXED,
    REQUIREMENTS,
    SESSIONS,
    TIMELESS,
    UNCOUNTED,
    UNTRUSTED,
    lacks_of,
    lacks_unless_reader,
)
from tests.support.cluster import Cluster
from tests.support.liar import Liar, instead, without_run_id
from tests.support.servers import REDIS, RedisServer, ValkeyServer
from tests.support.stores import ID, ManualClock, count_calls, make_store, make_tables

StartServer = Callable[..., ValkeyServer]
Outcome = tuple[Durability, bool, TierName]

FROM_REDIS = (Durability.DATABASE, True, TierName.REDIS)
"""Of a write that the database committed and Redis got, and of a read that Redis answered."""
UNTRUSTED_COPY = (Durability.DATABASE, True, TierName.DATABASE)
FROM_DATABASE = (Durability.DATABASE, False, TierName.DATABASE)
KIND = {each.command: each.consequence for each in REQUIREMENTS}
SERVED = {SESSIONS: FROM_DATABASE, UNTRUSTED: UNTRUSTED_COPY}
"""What each consequence makes of writes and reads; the others change neither."""


def used(store: CheckoutStore) -> Outcome:
    """All five calls, which must not raise; what a write and a read say at the end."""
    store.create({"n": 1}, checkout_id=ID)
    store.get(ID)
    written = store.update(ID, {"n": 2})
    assert store.update(ID, {"n": 3}).session.version == 3
    found = store.get(ID)
    assert found.fields["n"] == 3
    store.create({}, checkout_id="session-0002")
    store.delete("session-0002")
    return written.durability, written.published, found.tier


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def rule_without(command: str) -> str:
    return f"-{command.lower().replace(' ', '|')}"


@pytest.mark.parametrize("durability", ["database", "redis"])
@pytest.mark.parametrize("command", [each.command for each in REQUIREMENTS])
def test_with_a_command_denied_every_call_is_served_and_the_consequence_is_logged_once(
    valkey_server: StartServer,
    settings: Settings,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    command: str,
    durability: str,
) -> None:
    server = valkey_server("--user", "default", "on", "nopass", "~*", "&*", "+@all", rule_without(command))
    with make_store(replace(settings, redis_port=server.port, durability=durability), clock) as store:
        make_tables(store.database)
        outcome = used(store)
    expected = SERVED.get(KIND[command], FROM_REDIS)
    if durability == "redis" and KIND[command] in {INDEXED, UNCOUNTED, TIMELESS}:
        expected = (Durability.REDIS, True, TierName.REDIS)
    assert outcome == expected
    (error,) = errors(caplog)
    assert f"{command} is denied to this user (ACL)" in error
    assert KIND[command] in error


@pytest.mark.parametrize("kind", ["valkey", REDIS])
@pytest.mark.parametrize("command", ["EVALSHA", "GETEX", "TIME", "SCRIPT", "SET", "ZADD", "EXISTS", "HINCRBY"])
def test_with_a_command_renamed_away_every_call_is_served(
    tmp_path_factory: pytest.TempPathFactory,
    settings: Settings,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    command: str,
    kind: str,
) -> None:
    made = RedisServer if kind == "redis" else ValkeyServer
    server = made(tmp_path_factory.mktemp("renamed"), "--rename-command", command, "")
    try:
        server.start()
        with make_store(replace(settings, redis_port=server.port), clock) as store:
            make_tables(store.database)
            name = "SCRIPT LOAD" if command == "SCRIPT" else command
            assert used(store) == SERVED.get(KIND[name], FROM_REDIS)
        (error,) = errors(caplog)
        assert f"{name} is unknown to this server: {KIND[name]}" in error
    finally:
        server.kill()


def test_without_an_identity_redis_gets_the_copies_and_the_database_answers(
    valkey: ValkeyServer, settings: Settings, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Liar(valkey.port) as liar:
        liar.lies["INFO"] = without_run_id
        with make_store(replace(settings, redis_port=liar.port), clock) as store:
            make_tables(store.database)
            assert used(store) == UNTRUSTED_COPY
    assert UNTRUSTED in errors(caplog)[0]


@pytest.mark.parametrize(
    ("command", "reply", "word"),
    [
        ("GETEX", b"-ERR unknown command 'GETEX', with args beginning with: \r\n", "GETEX is unknown"),
        ("EVALSHA", b"-ERR This Redis command is not allowed from script\r\n", "EVALSHA is unknown"),
        (
            "SCRIPT LOAD",
            b"-ERR unknown command `SCRIPT`, with args beginning with: `LOAD`\r\n",
            "SCRIPT LOAD is unknown",
        ),
    ],
)
def test_an_engine_that_lists_a_command_and_does_not_run_it_is_found_out(
    valkey: ValkeyServer,
    settings: Settings,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    command: str,
    reply: bytes,
    word: str,
) -> None:
    with Liar(valkey.port) as liar:
        liar.lies[command] = instead(reply)
        with make_store(replace(settings, redis_port=liar.port), clock) as store:
            make_tables(store.database)
            assert used(store) == FROM_DATABASE
    assert word in errors(caplog)[0]


def test_the_control_a_whole_server_lacks_nothing_and_nothing_is_logged(
    store: CheckoutStore, caplog: pytest.LogCaptureFixture
) -> None:
    assert used(store) == FROM_REDIS
    (server,) = store.redis.servers()
    assert lacks_of(server) == ()
    assert lacks_unless_reader(server) == ()
    assert errors(caplog) == []


def test_it_is_asked_once_and_again_after_a_restart(
    valkey_server: StartServer, settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = valkey_server()
    with make_store(replace(settings, redis_port=server.port), clock) as store:
        make_tables(store.database)
        exchanges = count_calls(store.redis.servers()[0], "send", monkeypatch)

        def probes() -> int:
            return sum(len(commands) == len(REQUIREMENTS) for commands, *_ in exchanges)

        used(store)
        clock.advance(60)
        store.get(ID)
        assert probes() == 1
        server.kill()
        server.start()
        clock.advance(60)
        store.get(ID)
        store.get(ID)
        assert probes() == 2


def test_asking_changes_nothing(store: CheckoutStore, valkey: ValkeyServer) -> None:
    store.create({}, checkout_id=ID)
    with valkey.client() as client:

        def everything() -> dict[bytes, bytes]:
            return {key: client.dump(key) for key in client.keys("*")}

        before = everything()
        lacks_of(store.redis.servers()[0])
        assert everything() == before
        client.flushall()
        lacks_of(store.redis.servers()[0])
        assert client.dbsize() == 0


def test_a_grant_that_is_given_and_one_that_is_taken_away_are_noticed_without_a_new_connection(
    valkey_server: StartServer, settings: Settings, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    server = valkey_server("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-getex")
    with make_store(replace(settings, redis_port=server.port), clock) as store, server.client() as admin:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        assert store.get(ID).tier is TierName.DATABASE
        admin.execute_command("ACL", "SETUSER", "default", "+getex")
        clock.advance(AGAIN_AFTER)
        store.get(ID)
        assert store.get(ID).tier is TierName.REDIS
        assert "again" in caplog.records[-1].getMessage()
        admin.execute_command("ACL", "SETUSER", "default", "-set")
        clock.advance(AGAIN_AFTER)
        assert not store.update(ID, {"n": 1}).published
        assert store.get(ID).tier is TierName.DATABASE
    assert "SET is denied to this user (ACL)" in errors(caplog)[-1]


def test_while_sessions_cannot_be_kept_there_redis_is_not_asked_for_them(
    valkey_server: StartServer, settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = valkey_server("--rename-command", "SET", "")
    off = replace(settings, redis_port=server.port, enable_statistics=False, enable_user_sessions=False)
    with make_store(off, clock) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        exchanges = count_calls(store.redis.servers()[0], "exchange", monkeypatch)
        for _ in range(5):
            store.get(ID)
            store.update(ID, {"n": 1})
            clock.advance(1)
        sent = {str(command[0]) for commands, *_ in exchanges for command in commands}
        assert sent == {"SRANDMEMBER"}, "only what brings to the database the writes that Redis alone may have"


@pytest.mark.parametrize(
    ("rules", "is_reader"),
    [
        (["-getex", "-evalsha"], True),
        (["resetkeys", "%R~checkout:*"], True),
        (["-getex"], False),
        (["-script|load", "-getex"], False),
        (["resetkeys", "~checkouts:*"], False),
        (["+@all"], False),
    ],
)
def test_a_user_who_only_looks_tells_nothing_of_the_shops(
    store: CheckoutStore, valkey_server: StartServer, settings: Settings, rules: list[str], is_reader: bool
) -> None:
    server = valkey_server()
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "somebody", "on", ">secret", "~*", "&*", "+@all", *rules)
    its = replace(settings, redis_port=server.port, redis_username="somebody", redis_password="secret")
    with make_store(its) as store:
        assert (lacks_unless_reader(store.redis.servers()[0]) is None) is is_reader


def test_the_index_is_repaired_once_its_commands_are_granted(
    valkey_server: StartServer, settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-zadd")
    with make_store(replace(settings, redis_port=server.port), clock) as store, server.client() as admin:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        assert not admin.exists(INDEX)
        admin.execute_command("ACL", "SETUSER", "default", "+zadd")
        store.update(ID, {"n": 1})
        assert admin.zcard(INDEX) == 1


def test_in_write_behind_mode_nothing_stays_in_redis_alone_that_could_not_leave_it(
    valkey_server: StartServer, settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server("--rename-command", "SRANDMEMBER", "")
    with make_store(replace(settings, redis_port=server.port, durability="redis"), clock) as store:
        make_tables(store.database)
        assert store.create({}, checkout_id=ID).durability is Durability.DATABASE
        assert not store.redis.requirements.allow_flushes
        assert KIND["SRANDMEMBER"] == FLUSHES


def test_each_server_of_a_cluster_is_asked(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        broken = cluster.primaries[0]
        its = replace(settings, redis_port=broken.port, redis_mode="cluster")
        with broken.client() as admin:
            admin.execute_command("ACL", "SETUSER", "default", "-getex")
        with make_store(its) as store:
            make_tables(store.database)
            tiers = {}
            for number in range(30):
                name = f"session-{number:04}"
                store.create({}, checkout_id=name)
                store.get(name)
                tiers[name] = (store.redis.place_of(name), store.get(name).tier)
    assert {tier for place, tier in tiers.values() if place.endswith(f":{broken.port}")} == {TierName.DATABASE}
    assert {tier for place, tier in tiers.values() if not place.endswith(f":{broken.port}")} == {TierName.REDIS}
    (error,) = errors(caplog)
    assert f":{broken.port} does not give the store what it needs: GETEX is denied" in error

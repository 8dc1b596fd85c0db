"""What the user in use may do is found out on real servers, and nothing happens there meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from checkout_cli.commands.acl.check import Capabilities, Source, State, check_access
from checkout_cli.commands.acl.roles import NEWEST, OLDER, PASSWORD, ROLES, RoleName, rule_of
from checkout_cli.config.settings import Settings
from checkout_cli.errors import RedisUnavailable
from checkout_cli.keys import INDEX, INDEX_ASIDE, PENDING
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.cluster import Cluster
from tests.support.odd_servers import OddServer, each_odd_server
from tests.support.role_runs import listening
from tests.support.servers import RedisServer, ValkeyServer

SECRET = "only-for-this-test"
USER = "checked"


def check(settings: Settings, role: RoleName = RoleName.OPERATOR) -> Capabilities:
    with closing(RedisAdmin(settings)) as redis:
        return check_access(redis, settings, role)


@contextmanager
def user_with(server: ValkeyServer, settings: Settings, *rule: str) -> Iterator[Settings]:
    """Settings of a user with such a rule, who is gone afterwards."""
    with server.client() as client:
        client.execute_command("ACL SETUSER", USER, "reset", "on", f">{SECRET}", *rule)
        try:
            yield replace(settings, redis_port=server.port, redis_username=USER, redis_password=SECRET)
        finally:
            client.execute_command("ACL DELUSER", USER)


def rule(server: ValkeyServer, role: RoleName, settings: Settings, *without: str) -> list[str]:
    """A role's rule without its beginning, and without some of its parts."""
    version = OLDER if isinstance(server, RedisServer) else NEWEST
    parts = rule_of(role, settings).text(version).replace(PASSWORD, SECRET).split()
    assert set(without) <= set(parts)
    return [part for part in parts[2:] if part not in without]


def state_of(found: Capabilities, command: str) -> State:
    return next(one.state for one in found.commands if one.name == command)


@pytest.mark.parametrize("role", list(RoleName))
def test_the_user_of_a_role_lacks_nothing_of_it(
    any_redis_server: ValkeyServer, settings: Settings, role: RoleName
) -> None:
    with user_with(any_redis_server, settings, *rule(any_redis_server, role, settings)) as its:
        found = check(its, role)
        if role is not RoleName.APPLICATION:  # which has no reason to check itself
            assert found.source is Source.TRANSACTION
            assert (found.lacking, found.repair, found.complete) == ((), None, True)


def test_everybody_may_do_all_where_nobody_is_restricted(any_redis_server: ValkeyServer, settings: Settings) -> None:
    found = check(replace(settings, redis_port=any_redis_server.port))
    assert (found.user, found.complete, found.repair) == ("default", True, None)
    assert {one.state for one in found.commands} == {State.WORKS}


@pytest.mark.parametrize("role", [RoleName.READER, RoleName.OPERATOR])
def test_each_grant_that_is_taken_away_is_named_and_the_line_mends_it(
    any_redis_server: ValkeyServer, settings: Settings, role: RoleName
) -> None:
    whole = rule(any_redis_server, role, settings)
    grants = [part for part in whole if part.startswith(("+", "~", "%")) and part not in {"+multi", "+discard"}]
    with any_redis_server.client() as admin:
        for part in grants:
            with user_with(any_redis_server, settings, *(other for other in whole if other != part)) as its:
                found = check(its, role)
                assert part in found.lacking
                # +set alone writes to checkout:job:*: nothing else tells whether that pattern is granted
                only = {"+set": {"%W~checkout:job:*"}, "+pttl": {"%R~checkout:claim:*"}}
                assert set(found.lacking) - {part} <= only.get(part, set())
                assert not found.complete
                assert found.repair is not None
                admin.execute_command(*found.repair.split())
                assert check(its, role).complete


def test_a_key_that_may_be_read_and_not_written_is_told_apart(settings: Settings, valkey: ValkeyServer) -> None:
    parts = [part for part in rule(valkey, RoleName.OPERATOR, settings) if part != "~checkout:session:*"]
    with user_with(valkey, settings, *parts, "%R~checkout:session:*") as its:
        found = check(its)
        assert found.lacking == ("~checkout:session:*",)
        assert state_of(found, "sessions show") is State.WORKS
        assert state_of(found, "sessions create") is State.FAILS
        assert state_of(found, "cache delivery set") is State.WORKS


def test_what_only_helps_reduces_a_command_and_does_not_stop_it(settings: Settings, valkey: ValkeyServer) -> None:
    with user_with(valkey, settings, *rule(valkey, RoleName.OPERATOR, settings, "+latency|doctor")) as its:
        found = check(its, RoleName.OPERATOR)
        assert state_of(found, "latency") is State.PARTLY
        assert state_of(found, "ping") is State.WORKS
        assert next(one.reduced for one in found.commands if one.name == "latency") == ("+latency|doctor",)


ESCALATIONS = (
    *("CONFIG GET requirepass", "CONFIG GET *", "CONFIG SET requirepass x", "CONFIG SET dir /tmp", "CONFIG REWRITE"),
    *("MONITOR", "ACL LIST", "ACL GETUSER default", "ACL SETUSER mallory on nopass ~* +@all", "ACL SAVE", "ACL LOG"),
    *(
        "EVAL return(1) 0",
        "SCRIPT FLUSH",
        "FUNCTION LIST",
        "DEBUG SLEEP 0",
        "REPLICAOF NO ONE",
        "SYNC",
    ),
    *("GET theirs:1", "SET theirs:1 x", "GETEX theirs:1", "DUMP checkout:index", "KEYS *", "FLUSHALL", "SHUTDOWN"),
    *("MIGRATE 127.0.0.1 1 checkout:index 0 1", "CLIENT KILL TYPE normal", "PSUBSCRIBE *", "PUBLISH x y"),
)


@pytest.mark.parametrize("role", RoleName)
def test_no_role_can_become_more_than_it_is(settings: Settings, valkey: ValkeyServer, role: RoleName) -> None:
    with valkey.client() as admin:
        admin.set("theirs:1", "secret")
        with user_with(valkey, settings, *rule(valkey, role, settings)):
            for words in ESCALATIONS:
                with (
                    valkey.client(username=USER, password=SECRET) as client,
                    pytest.raises(redis.exceptions.NoPermissionError),
                ):
                    client.execute_command(*words.split())
        with user_with(valkey, settings, "~*", "+@all"), valkey.client(username=USER, password=SECRET) as client:
            assert client.config_get("requirepass")  # the control: it is the role that refuses
        admin.delete("theirs:1")


def test_nothing_is_run_and_nothing_changes(any_redis_server: ValkeyServer, settings: Settings) -> None:
    with any_redis_server.client() as client:
        client.zadd(INDEX, {"a-session": 5})
        client.sadd(INDEX_ASIDE, "another")
        client.sadd(PENDING, "a-third")
        client.script_flush()
        digests = [client.dump(key) for key in (INDEX, INDEX_ASIDE, PENDING)]
        with listening(any_redis_server) as heard:
            for role in RoleName:
                assert check(replace(settings, redis_port=any_redis_server.port), role).source is Source.TRANSACTION
        assert set(heard.counts) == {"info", "multi", "discard"}
        assert client.dbsize() == 3
        assert [client.dump(key) for key in (INDEX, INDEX_ASIDE, PENDING)] == digests


@pytest.mark.parametrize("withheld", ["multi", "discard"])
def test_without_transactions_nothing_is_written_either(
    any_redis_server: ValkeyServer, settings: Settings, withheld: str
) -> None:
    with any_redis_server.client() as client:
        client.zadd(INDEX, {"a-session": 5})
        client.sadd(INDEX_ASIDE, "another")
        before = [client.dump(key) for key in (INDEX, INDEX_ASIDE)]
        with user_with(any_redis_server, settings, "~*", "+@all", f"-{withheld}") as its:
            found = check(its)
        assert found.source is (Source.TRIAL if withheld == "multi" else Source.TRANSACTION)
        assert state_of(found, "sessions list") is State.WORKS
        assert state_of(found, "sessions create") is (State.UNKNOWN if withheld == "multi" else State.WORKS)
        assert f"+{withheld}" in found.lacking
        assert client.dbsize() == 2
        assert [client.dump(key) for key in (INDEX, INDEX_ASIDE)] == before


def test_a_dropped_connection_is_not_used_again_where_the_transaction_stays_open(
    settings: Settings, valkey: ValkeyServer
) -> None:
    with (
        user_with(valkey, settings, "~*", "+@all", "-discard") as its,
        closing(RedisAdmin(its)) as redis,
    ):
        check_access(redis, its, RoleName.READER)
        assert redis.ask(("PING",)) == b"PONG"  # and not QUEUED


def test_without_any_grant_what_needs_none_still_works(settings: Settings, valkey: ValkeyServer) -> None:
    with user_with(valkey, settings, "resetkeys", "-@all") as its:
        found = check(its)
    assert state_of(found, "ping") is State.FAILS
    assert state_of(found, "config show") is State.WORKS
    assert "+ping" in found.lacking


def test_what_an_older_server_does_not_have_is_absent_and_not_missing(
    any_redis_server: ValkeyServer, settings: Settings
) -> None:
    with user_with(any_redis_server, settings, *rule(any_redis_server, RoleName.READER, settings)) as its:
        found = check(its, RoleName.READER)
    is_older = found.version is not None and found.version < (7, 2)
    assert (found.absent, found.lacking) == (("client|no-touch",) if is_older else (), ())


@pytest.mark.parametrize("odd", each_odd_server("hung", "loading"), indirect=True)
def test_every_kind_of_server_gets_an_answer(odd: OddServer) -> None:
    found = check(odd.settings())
    if odd.name.startswith("denied"):
        command = odd.name.split()[1].lower()
        lacking = {part.removeprefix("+").partition("|")[0] for part in found.lacking}
        assert lacking == {command} & {"info", "client", "memory", "slowlog"}
    elif odd.name.startswith("no "):
        assert found.complete
        assert {name.partition("|")[0].upper() for name in found.absent} == {odd.name.split()[1]} - {"CONFIG"}
    else:
        assert found.complete


@pytest.mark.parametrize("odd", ["hung"], indirect=True)
def test_a_hung_server_is_away(odd: OddServer) -> None:
    with pytest.raises(RedisUnavailable):
        check(odd.settings(0.2))


def test_in_a_cluster_each_primary_has_to_grant_it(tmp_path: Path, settings: Settings) -> None:
    with Cluster(tmp_path / "cluster") as cluster:
        its = replace(
            settings,
            redis_host=HOST,
            redis_port=cluster.primaries[0].port,
            redis_mode="cluster",
            redis_username="checkout-operator",
            redis_password=SECRET,
        )
        command = rule_of(RoleName.OPERATOR, its).command().replace(PASSWORD, SECRET).split()
        for server in cluster.primaries:
            with server.client() as client:
                client.execute_command(*command)
        found = check(its)
        assert (found.lacking, found.complete) == ((), True)
        with cluster.primaries[2].client() as client:
            client.execute_command("ACL SETUSER", "checkout-operator", "-zadd")
        assert "+zadd" in check(its).lacking


def test_all_calls_are_accepted_by_the_servers(any_redis_server: ValkeyServer, settings: Settings) -> None:
    """A call with too few words would be refused before anybody asks for its permission."""
    with user_with(any_redis_server, settings, "resetkeys", "-@all", "+multi", "+discard") as its:
        for role in RoleName:
            found = check(its, role)
            wanted = ROLES[role].needs(settings)
            commands = {need.command for need in wanted} - {"multi", "discard"}
            absent = set(found.absent)
            assert {part.removeprefix("+") for part in found.lacking if part.startswith("+")} == commands - absent

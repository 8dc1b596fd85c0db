"""Each role on real servers: its user runs all of its commands, is denied the rest, and has no grant in vain."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import redis
import typer

from checkout_cli.cli.main import app
from checkout_cli.commands.acl.needs import ACCESS, ALL, LIBRARY, Access, Need
from checkout_cli.commands.acl.roles import (
    COMMANDS,
    NEWEST,
    NO_ROLE,
    OLDER,
    OLDEST,
    PASSWORD,
    ROLES,
    RoleName,
    grants,
    rule_of,
)
from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.in_process import Outcome, run_here
from tests.support.operator_runs import RUNS as RUNS_ANYWHERE
from tests.support.role_runs import (
    FOREIGN,
    RUNS,
    Heard,
    Run,
    Scene,
    count_sessions,
    listening,
    name_of,
    use_the_library,
)
from tests.support.servers import RedisServer, ValkeyServer
from tests.support.stores import make_tables

SECRET = "only-for-this-test"
KINDS = [
    pytest.param((ValkeyServer, NEWEST), id="valkey"),
    pytest.param((RedisServer, OLDER), id="redis", marks=pytest.mark.needs("redis-server")),
]
BEST_EFFORT = {"memory show", "memory families", "memory tune", "incident"}
"""Commands that also ask about keys that no role reaches, and go on without an answer."""
OUT_OF_REACH = {FOREIGN}


def _with_crontab(directory: Path) -> Path:
    """A directory with a ``crontab`` in it, of somebody who has none: a bare machine lacks the program."""
    directory.mkdir()
    (directory / "crontab").write_text("#!/bin/sh\necho no crontab for shop >&2\nexit 1\n")
    (directory / "crontab").chmod(0o755)
    return directory


class Stage(Scene):
    """A scene, with a user for each role; and another server with the same users, that sessions can be moved to."""

    def __init__(
        self,
        server: ValkeyServer,
        other: ValkeyServer,
        settings: Settings,
        version: tuple[int, int],
        directory: Path,
    ) -> None:
        super().__init__(server, settings)
        self.directory = directory
        self.other = other
        self._programs = _with_crontab(directory / "programs")
        for each in (server, other):
            with each.client() as client:
                for role in ROLES:
                    rule = rule_of(role, settings).command(version).replace(PASSWORD, SECRET)
                    assert client.execute_command(*rule.split()) in {b"OK", True}

    def prepare(self, state: Callable[[Scene], None]) -> None:
        super().prepare(state)
        self.other.flush()

    def settings_of(self, role: RoleName) -> Settings:
        return replace(self.settings, redis_username=f"checkout-{role}", redis_password=SECRET)

    def run(self, run: Run, role: RoleName) -> Outcome:
        """A command of the role's user."""
        environment = {
            "PATH": os.pathsep.join([str(self._programs), os.environ["PATH"]]),
            "HOME": str(self.directory),
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.server.port),
            "REDIS_USERNAME": f"checkout-{role}",
            "REDIS_PASSWORD": SECRET,
            "REDIS_TO_PASSWORD": SECRET,
            "DATABASE_URL": self.settings.database_url,
        }
        other = f"redis://checkout-{role}@{HOST}:{self.other.port}/0"
        words = [other if word == "{other}" else self.filled_in(word) for word in run.words]
        done = run_here(words, environment, self.directory, given=run.input or "")
        if run.command == "incident":
            (self.directory / "incident.json").write_text(done.out)
        return done

    def denials(self) -> list[tuple[str, str]]:
        """Why (``command`` or ``key``) and what was denied since the last time."""
        with self.server.client() as client:
            entries = client.acl_log()
            client.acl_log_reset()
        return [(str(entry["reason"]), str(entry["object"])) for entry in entries]


@pytest.fixture(scope="module", params=KINDS)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    kind, version = request.param
    directory = tmp_path_factory.mktemp("roles")
    server, other = kind(directory / "server"), kind(directory / "other")
    try:
        server.start()
        other.start()
        url = f"sqlite:///{directory / 'checkout.db'}"
        settings = Settings(redis_host=HOST, redis_port=server.port, database_url=url, timeout=0.5)
        yield Stage(server, other, settings, version, directory)
    finally:
        server.kill()
        other.kill()


def needs_of(heard: Heard, client: redis.Redis) -> set[Need]:
    """What was heard, in the words of the table; keys of which nothing is known are left out."""
    found = {Need(command) for command in heard.counts}
    for words in heard.commands:
        try:
            keys = [str(key) for key in client.execute_command("COMMAND GETKEYS", *words)]
        except redis.ResponseError:
            continue
        known = (pattern for key in keys for pattern in ALL if fnmatchcase(key, pattern))
        found |= {Need(command_of(words), pattern) for pattern in known}
    return found


def command_of(words: tuple[str, ...]) -> str:
    name = words[0].lower()
    return f"{name}|{words[1].lower()}" if name in {"memory", "object"} else name


NO_GRANT_NEEDED = {"auth", "hello", "quit", "reset", "client|setinfo"}


def unexpected(heard: set[Need], expected: Iterable[Need]) -> set[Need]:
    """What was heard and is not in the table."""
    expected = set(expected)
    commands = {need.command for need in expected} | NO_GRANT_NEEDED
    return {need for need in heard if (need not in expected if need.keys else need.command not in commands)}


def unused(role: RoleName, heard: set[Need], settings: Settings, version: tuple[int, int]) -> list[str]:
    """Parts of a role's rule that nothing made use of."""
    return sorted(set(grants(ROLES[role].needs(settings), version)) - set(grants(heard, version)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", [RoleName.READER, RoleName.OPERATOR])
def test_the_user_of_a_role_runs_all_its_commands_and_has_no_grant_in_vain(stage: Stage, role: RoleName) -> None:
    version = OLDER if isinstance(stage.server, RedisServer) else NEWEST
    problems: defaultdict[str, list[Any]] = defaultdict(list)
    used: set[Need] = set()
    ran = set()
    with stage.server.client(socket_timeout=5) as client:
        for run in RUNS:
            name = name_of(run)
            if name not in ROLES[role].entries:
                continue
            ran.add(name)
            stage.prepare(run.state)
            stage.denials()
            with listening(stage.server) as heard, listening(stage.other) as there:
                done = stage.run(run, role)
            needs = needs_of(heard, client) | needs_of(there, client)
            used |= needs
            told = f"{name} {run.arguments} [{run.state.__name__}] exit {done.code}"
            if done.code not in {0, 1} or "Traceback" in done.err:
                problems[told].append(done.err)
            for reason, what in stage.denials():
                best_effort = reason == "key" and what in OUT_OF_REACH and run.command in BEST_EFFORT
                if not best_effort and what not in ROLES[role].withheld:
                    problems[told].append(f"denied by {reason}: {what}")
            problems[told] += sorted(unexpected(needs, COMMANDS[name].everything))
    lines = [f"{told}: {problem}" for told, its in problems.items() for problem in its]
    assert not lines, "\n".join(lines)
    assert ran == set(ROLES[role].entries)
    assert not unused(role, used, stage.settings, version), "\n".join(unused(role, used, stage.settings, version))


def test_the_application_uses_the_library_with_the_database_and_without_it(stage: Stage) -> None:
    settings = stage.settings_of(RoleName.APPLICATION)
    expected = {need for entry in LIBRARY.values() for need in entry.everything}
    used: set[Need] = set()
    with stage.server.client(socket_timeout=5) as client:
        for state, use in (
            (Scene.beside_a_set, use_the_library),
            (Scene.without_index, count_sessions),
            (Scene.interrupted_adoption, count_sessions),
            (Scene.half_adopted, count_sessions),
        ):
            stage.prepare(state)
            stage.denials()
            with listening(stage.server) as heard:
                use(settings)
            # A sync of its own begins at the start each time: where jobs stopped is none of its business.
            assert set(stage.denials()) <= {("key", "checkout:job:sync")}
            needs = needs_of(heard, client)
            assert unexpected(needs, expected) == set()
            used |= needs
    assert unused(RoleName.APPLICATION, used, stage.settings, NEWEST) == []


def test_in_a_cluster_the_operators_commands_are_not_denied_either(tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster") as cluster:
        settings = Settings(
            redis_host=HOST,
            redis_port=cluster.primaries[0].port,
            redis_mode="cluster",
            database_url=f"sqlite:///{tmp_path / 'checkout.db'}",
            timeout=0.5,
        )
        command = rule_of(RoleName.OPERATOR, settings).command().replace(PASSWORD, SECRET).split()
        with CheckoutStore.open(settings) as store:
            make_tables(store.database)
            for number in range(5):
                store.create({"userId": f"user-{number}"}, checkout_id=f"session-{number:04}")
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | {
            "REDIS_MODE": "cluster",
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(cluster.primaries[0].port),
            "REDIS_USERNAME": "checkout-operator",
            "REDIS_PASSWORD": SECRET,
            "DATABASE_URL": settings.database_url,
        }
        for server in cluster.primaries:
            with server.client() as client:
                client.execute_command(*command)
                client.acl_log_reset()
        denied, withheld = set(), ROLES[RoleName.OPERATOR].withheld
        for run in RUNS_ANYWHERE:
            run_here(run.words.split(), environment, tmp_path, given=run.given)
            for server in cluster.primaries:
                with server.client() as client:
                    denied |= {
                        (run.words, what)
                        for entry in client.acl_log()
                        if (what := str(entry["object"])) not in withheld
                    }
                    client.acl_log_reset()
        assert {(words, what) for words, what in denied if what != "acl|list"} == set()


FORBIDDEN = (
    *("KEYS *", "FLUSHALL", "FLUSHDB", "CONFIG SET maxmemory 1", "CONFIG REWRITE", "DEBUG SLEEP 0", "SHUTDOWN NOSAVE"),
    *("EVAL return(1) 0", "SCRIPT FLUSH", "ACL LIST", "ACL SETUSER x", "CLIENT KILL ID 1", "REPLICAOF NO ONE", "SAVE"),
    *("EXEC", "SUBSCRIBE x", "PUBLISH x y", "SWAPDB 0 1", "MOVE checkout:session:x 1", "FUNCTION LIST"),
    *(f"{command} {FOREIGN}" for command in ("GET", "TYPE", "PTTL", "STRLEN", "DUMP", "DEL", "UNLINK")),
    *(f"SET {FOREIGN} x", "EVALSHA 0 1 basket:1", "MEMORY USAGE basket:1", "GET checkouts:session:x", "SET stat x"),
)


@pytest.mark.parametrize("command", FORBIDDEN)
@pytest.mark.parametrize("role", list(RoleName))
def test_what_could_hurt_others_is_denied(stage: Stage, role: RoleName, command: str) -> None:
    with (
        stage.server.client(username=f"checkout-{role}", password=SECRET) as client,
        pytest.raises(redis.RedisError, match=r"(?i)no permissions"),
    ):
        client.execute_command(*command.split())


WRITES = ("SET checkout:session:x y", "DEL checkout:session:x", "ZADD checkout:index 1 x", "CONFIG GET *", "MONITOR")


@pytest.mark.parametrize("command", WRITES)
def test_the_reader_writes_nothing_and_sees_no_password(stage: Stage, command: str) -> None:
    with (
        stage.server.client(username="checkout-reader", password=SECRET) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command.split())


SOME = ["+zrevrank", "+type", "%R~checkout:pending", "+dbsize", "+slowlog|get", "+get"]


@pytest.mark.parametrize("part", SOME)
def test_with_any_part_of_the_rule_taken_away_a_command_is_denied(stage: Stage, part: str) -> None:
    """The control of the test above: the very grant that is missing is what the log of denials names."""
    rule = rule_of(RoleName.READER, stage.settings).text(OLDER).replace(PASSWORD, SECRET).split()
    rule.remove(part)
    run = {
        "+zrevrank": Run("sessions list", state=Scene.many),
        "+dbsize": Run("memory families"),
        "+slowlog|get": Run("slowlog"),
    }.get(part, Run("sessions list"))
    stage.prepare(run.state)
    stage.denials()
    with stage.server.client() as client:
        try:
            client.execute_command("ACL SETUSER", "checkout-reader", "reset", *rule)
            stage.run(run, RoleName.READER)
        finally:
            whole = rule_of(RoleName.READER, stage.settings).text(OLDER).replace(PASSWORD, SECRET)
            client.execute_command("ACL SETUSER", "checkout-reader", "reset", *whole.split())
    assert part.removeprefix("+").removeprefix("%R~") in {what for _, what in stage.denials()}


# The table


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    children = getattr(command, "commands", {})
    if not children or (path and command.invoke_without_command):
        yield " ".join(path)
    for name, child in children.items():
        yield from leaves(child, (*path, name))


TREE = set(leaves(typer.main.get_command(app)))


def test_the_table_has_every_command_and_no_other() -> None:
    assert {name.partition(" --")[0] for name in COMMANDS} == TREE


def test_every_command_is_in_a_role_or_it_is_said_why_not() -> None:
    in_roles = {name for role in ROLES.values() for name in role.entries if name in COMMANDS}
    assert in_roles | set(NO_ROLE) == set(COMMANDS)
    assert in_roles.isdisjoint(NO_ROLE)


def test_every_command_of_a_role_is_run_by_the_proof() -> None:
    assert {name_of(run) for run in RUNS} == set(COMMANDS) - set(NO_ROLE)


def test_what_a_role_does_without_none_of_its_commands_needs() -> None:
    for role in ROLES.values():
        assert [need for entry in role.entries.values() for need in entry.needs if need.command in role.withheld] == []


def test_the_reader_is_granted_nothing_that_writes(settings: Settings) -> None:
    assert {need.access for need in ROLES[RoleName.READER].needs(settings)} <= {Access.NONE, Access.READ}


@pytest.mark.parametrize("command", sorted(ACCESS))
def test_what_a_command_does_to_keys_is_what_the_server_says(valkey: ValkeyServer, command: str) -> None:
    many = {"evalsha": "0 1 k", "sscan": "k 0", "zrange": "k 0 1", "zcount": "k 0 1"}
    few = {
        "get",
        "hgetall",
        "hkeys",
        "hlen",
        "pttl",
        "scard",
        "strlen",
        "type",
        "zcard",
        "exists",
        "getex",
        "srandmember",
    }
    arguments = many.get(command, "k" if command in few or "|" in command else "k a b")
    if command in {"hget", "rename", "zrevrank", "zscore", "pexpire"}:
        arguments = "k a"
    with valkey.client() as client:
        flags = client.execute_command("COMMAND GETKEYSANDFLAGS", *command.split("|"), *arguments.split())
    said = {flag for _, its in flags for flag in its}
    access = Access.READ if b"access" in said else Access.NONE
    assert ACCESS[command] == (access | Access.WRITE if said & {b"insert", b"delete", b"update"} else access)


# The rule as text


def test_on_older_servers_the_rule_leaves_out_what_they_do_not_know(settings: Settings) -> None:
    rule = rule_of(RoleName.READER, settings)
    assert "+client|no-touch" in rule.text(NEWEST)
    assert "+client|no-touch" not in rule.text(OLDER)
    assert "%R~checkout:session:*" in rule.text(OLDER)
    assert "%" not in rule.text(OLDEST)
    assert " ~checkout:session:* " in rule.text(OLDEST)


def test_the_rule_fits_a_cluster_and_another_database(settings: Settings) -> None:
    cluster = rule_of(RoleName.APPLICATION, replace(settings, redis_mode="cluster")).text()
    assert " ~checkout:expiry:{checkout:index} " in cluster
    assert "+cluster|slots" in cluster
    assert "+select" in rule_of(RoleName.READER, replace(settings, redis_db=3)).text()
    assert "+select" not in rule_of(RoleName.READER, settings).text()


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "a\nb", "on>", "ü"])
def test_a_name_that_could_change_the_rule_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(InvalidInput):
        rule_of(RoleName.READER, settings, name)


def test_no_password_of_the_settings_is_in_a_rule(settings: Settings) -> None:
    rule = rule_of(RoleName.OPERATOR, replace(settings, redis_password="hunter2-secret"))
    assert "hunter2" not in rule.command() + rule.line()
    assert rule.line().startswith(f"user checkout-operator on >{PASSWORD} resetchannels ")


def test_a_user_who_exists_keeps_nothing_of_what_he_had(valkey: ValkeyServer, settings: Settings) -> None:
    rule = rule_of(RoleName.READER, settings, "old-hand").command().replace(PASSWORD, SECRET)
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "old-hand", "on", ">known-to-all", "~*", "&*", "+@all", "(~* +@all)")
        client.execute_command(*rule.split())
        user = client.acl_getuser("old-hand")
        client.execute_command("ACL", "DELUSER", "old-hand")
    assert len(user["passwords"]) == 1
    assert not user["selectors"]
    assert not user["channels"]
    assert "~*" not in user["keys"]
    assert "+@all" not in user["categories"]

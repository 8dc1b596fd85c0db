"""Persisting on servers whose files are not all that counts: nothing is promised that a restart would not keep.

Each server is started again by its own file and arguments after the change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from checkout_cli.commands.memory.limits import MEBIBYTE, Limits
from checkout_cli.commands.memory.outlook import state_of
from checkout_cli.commands.memory.persist import _PLAIN_DEFAULT, ConfigFile, Persisted, rewriting
from checkout_cli.commands.memory.tune import UndoFile, tune
from checkout_cli.servers.machine import Machine
from tests.commands.memory.test_tune import Configured, said_by, store_of, yes
from tests.support.doctoring import FakeMachine
from tests.support.servers import ValkeyServer

WANTED = Limits(64 * MEBIBYTE, "noeviction")
LINES = ("maxmemory 67108864", "maxmemory-policy noeviction")
Start = Callable[..., ValkeyServer]


def configured(lines: str, **others: str) -> type[Configured]:
    """A server whose file has these lines too, with files beside it; ``DIR`` stands for their directory."""

    class Odd(Configured):
        def __init__(self, directory: Path, *arguments: str) -> None:
            super().__init__(directory, *arguments)
            for name, text in others.items():
                (directory / name).write_text(text)
            with self.file.open("a") as stream:
                stream.write(lines.replace("DIR", str(directory)))

    return Odd


def persisted(server: ValkeyServer, tmp_path: Path) -> Persisted:
    with store_of(server, tmp_path) as store:
        done = tune(store, WANTED, agreed=yes, persist=True, undo=UndoFile(tmp_path / "state"))
    assert said_by(server).agrees_with(WANTED)
    (step,) = done.steps
    assert step.persisted is not None
    assert done.all_persisted is (step.persisted.done and not step.persisted.doubt)
    return step.persisted


def after_a_restart(server: ValkeyServer) -> Limits:
    server.kill()
    server.start()
    return said_by(server)


@pytest.mark.parametrize(
    "included",
    ["user shop on >secret ~* +@all\n", "user default on nopass ~* &* +@all\n", "maxmemory 100mb\n"],
)
def test_a_file_that_includes_another_is_not_rewritten_and_the_server_starts_again(
    included: str, valkey_server: Start, tmp_path: Path
) -> None:
    server = valkey_server(kind=configured("include DIR/more.conf\n", **{"more.conf": included}))
    assert isinstance(server, Configured)
    before = server.file.read_bytes()
    kept = persisted(server, tmp_path)
    assert not kept.done
    assert "more.conf, which CONFIG REWRITE does not write" in kept.reason
    assert (kept.file, kept.lines) == (f"{server.file}, below its last include line", LINES)
    assert server.file.read_bytes() == before
    with server.file.open("a") as stream:  # as it was told
        stream.write("\n".join(kept.lines) + "\n")
    again = persisted(server, tmp_path)
    assert (again.done, again.seen) == (True, True)
    assert after_a_restart(server).agrees_with(WANTED)


@pytest.mark.parametrize(
    ("lines", "others"),
    [
        ("user shop on >secret ~* +@all\n", {}),
        (
            "aclfile DIR/users.acl\n",
            {"users.acl": "user default on nopass ~* &* +@all\nuser shop on >secret ~* +@all\n"},
        ),
        ("# include nothing\n", {}),
        ("MAXMEMORY 32mb\n", {}),
    ],
)
def test_a_file_that_is_all_there_is_is_rewritten_read_back_and_survives_a_restart(
    lines: str, others: dict[str, str], valkey_server: Start, tmp_path: Path
) -> None:
    server = valkey_server(kind=configured(lines, **others))
    kept = persisted(server, tmp_path)
    assert (kept.done, kept.seen, kept.doubt, kept.reason) == (True, True, "", "")
    assert after_a_restart(server).agrees_with(WANTED)


def test_a_start_up_argument_that_would_override_the_file_is_named(valkey_server: Start, tmp_path: Path) -> None:
    server = valkey_server("--maxmemory", "100mb", kind=Configured)
    kept = persisted(server, tmp_path)
    assert kept.done
    assert "--maxmemory 67108864" in kept.doubt
    assert after_a_restart(server).maxmemory == 100 * MEBIBYTE  # it is as it was told


def test_our_own_change_is_no_start_up_argument(valkey_server: Start, tmp_path: Path) -> None:
    server = valkey_server(kind=Configured)
    record = UndoFile(tmp_path / "state")
    with store_of(server, tmp_path) as store:
        tune(store, WANTED, agreed=yes, undo=record)
        kept = tune(store, Limits(), agreed=yes, persist=True, undo=record).steps[0].persisted
    assert kept is not None
    assert (kept.done, kept.doubt) == (True, "")


def test_a_file_that_cannot_be_seen_is_not_rewritten_where_users_could_be_defined_twice(
    valkey_server: Start, tmp_path: Path
) -> None:
    server = valkey_server(
        kind=configured("include DIR/more.conf\n", **{"more.conf": "user shop on >secret ~* +@all\n"})
    )
    elsewhere = FakeMachine(tmp_path / "machine")
    elsewhere.own = set()
    with store_of(server, tmp_path) as store:
        (one,) = store.redis.servers()
        way = rewriting(state_of(one.server if hasattr(one, "server") else one), elsewhere)
    assert way.file is None
    assert "defines the user shop" in way.obstacle


@pytest.mark.parametrize("password", ["", "hush"])
def test_the_plain_default_user_is_known(password: str, valkey_server: Start) -> None:
    server = valkey_server(*(["--requirepass", password] if password else []))
    with server.client(password=password or None) as client:
        (rule,) = client.acl_list()
        assert re.fullmatch(_PLAIN_DEFAULT, rule)
        client.execute_command("ACL", "SETUSER", "default", "-flushall")
        (rule,) = client.acl_list()
        assert not re.fullmatch(_PLAIN_DEFAULT, rule)


def test_the_last_line_of_a_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text('maxmemory 1gb\nMaxMemory "64mb"\n# maxmemory 1\nmaxmemory-policy allkeys-lru\n\nsave ""\n')
    file = ConfigFile.of(path)
    assert file is not None
    assert file.limits == Limits(64 * MEBIBYTE, "allkeys-lru")
    assert ConfigFile.of(tmp_path / "none.conf") is None


def test_a_server_on_this_machine_is_known_as_such(valkey_server: Start, tmp_path: Path) -> None:
    server = valkey_server(kind=Configured)
    with store_of(server, tmp_path) as store:
        (one,) = store.redis.servers()
        assert rewriting(state_of(one.server if hasattr(one, "server") else one), Machine()).file is not None

"""Unix sockets, IPv6, ACL users and password files: every way to a Redis, by the commands that look at it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import ExitCode
from checkout_cli.servers.embedded import HOST
from checkout_cli.servers.machine import Machine
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.doctoring import finding
from tests.support.in_process import Outcome, run_here
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer

StartServer = Callable[..., ValkeyServer]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server on a Unix socket, on IPv4 and on IPv6."""
    directory = tmp_path_factory.mktemp("s")
    one = ValkeyServer(directory / "v", "--bind", HOST, "::1", "--unixsocket", str(directory / "r.sock"))
    one.start()
    with one.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "on", ">s3cret", "~*", "&*", "+@all")
    yield one
    one.kill()


@pytest.fixture
def path(server: ValkeyServer) -> str:
    return str(server.directory.parent / "r.sock")


def run(directory: Path, *arguments: str, **environment: str) -> Outcome:
    database = f"sqlite:///{directory / 'checkout.db'}"
    return run_here(arguments, {"HOME": str(directory), "DATABASE_URL": database, **environment}, directory)


def document(outcome: Outcome) -> Any:
    return json.loads(outcome.out)


def checks(outcome: Outcome) -> dict[str, Any]:
    return {check["id"]: check for check in document(outcome)["checks"]}


@pytest.mark.parametrize("kind", ["socket", "socket URL", "IPv6", "IPv6 URL"])
def test_each_way_leads_to_redis(server: ValkeyServer, path: str, tmp_path: Path, kind: str) -> None:
    environment, place = {
        "socket": ({"REDIS_SOCKET": path}, path),
        "socket URL": ({"REDIS_URL": f"unix://shop:s3cret@{path}?db=2"}, path),
        "IPv6": ({"REDIS_HOST": "::1", "REDIS_PORT": str(server.port)}, f"[::1]:{server.port}"),
        "IPv6 URL": ({"REDIS_URL": f"redis://shop:s3cret@[::1]:{server.port}/1"}, f"[::1]:{server.port}"),
    }[kind]
    assert run(tmp_path, "setup", "--yes", **environment).code == 0
    assert run(tmp_path, "health", **environment).code == 0
    pinged = run(tmp_path, "ping", "-c", "1", **environment)
    assert pinged.code == 0
    assert f"{place}: 1 sent, 1 answered" in pinged.out
    found = checks(run(tmp_path, "doctor", "--json", **environment))
    assert found["connect"]["status"] == "ok"
    assert found["transport"]["status"] == "ok"
    assert "this machine" in found["transport"]["evidence"]
    # Provably local: what is read from /proc is there, and not skipped.
    assert found["swap"]["status"] != "skipped", found["swap"]
    assert "s3cret" not in pinged.out + pinged.err + json.dumps(found)


def test_a_ping_over_a_socket_has_neither_name_nor_port(path: str, tmp_path: Path) -> None:
    found = document(run(tmp_path, "ping", "-c", "1", "--json", REDIS_SOCKET=path))
    assert (found["host"], found["port"], found["socket"], found["address"]) == (None, None, path, path)
    assert list(found["stagesMs"]) == ["socket"]


def test_a_socket_does_not_make_an_open_server_look_exposed(path: str, tmp_path: Path) -> None:
    found = checks(run(tmp_path, "doctor", "--only", "exposure,port-in-use", "--json", REDIS_SOCKET=path))
    assert found["exposure"]["status"] == "ok"
    assert found["port-in-use"]["status"] == "skipped"
    assert "over the socket" in found["port-in-use"]["evidence"]


def test_the_kernel_says_who_listens_on_a_socket(server: ValkeyServer, path: str, tmp_path: Path) -> None:
    assert Machine().listener_of_socket(path, 1) == server.pid
    assert Machine().listener_of_socket(str(tmp_path / "none"), 1) is None


def test_a_server_behind_a_forwarded_socket_is_not_taken_for_a_local_one(
    server: ValkeyServer, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "listener_of_socket", lambda *_: 1)  # the forwarder's process
    found = finding(Settings(redis_socket=path, timeout=1), "swap", tmp_path)
    assert str(found.status) == "skipped"
    assert "not provable" in found.evidence


@pytest.fixture
def left_behind(tmp_path: Path) -> str:
    """The socket of a server that was killed."""
    path = tmp_path / "old.sock"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen()
    return str(path)


def test_a_socket_that_is_not_there_or_left_behind_is_told(left_behind: str, tmp_path: Path) -> None:
    for path, words in ((str(tmp_path / "none.sock"), "there is no socket"), (left_behind, "no server listens")):
        outcome = run(tmp_path, "ping", REDIS_SOCKET=path)
        assert outcome.code == ExitCode.UNAVAILABLE
        assert words in outcome.err
        assert len(outcome.err.strip().splitlines()) == 2
        found = checks(run(tmp_path, "doctor", "--only", "connect", "--json", REDIS_SOCKET=path))["connect"]
        assert found["status"] == "crit"
        assert found["numbers"]["trouble"] in {"wrong address", "not running", "not installed"}
        assert path in run(tmp_path, "health", REDIS_SOCKET=path).out
        assert path in run(tmp_path, "setup", "--check", REDIS_SOCKET=path).out.replace("\n", "").replace(" ", "")


def test_a_socket_that_we_may_not_use_is_a_denial(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("checkout_cli.commands.ping.ping.dialled", refuse)
    outcome = run(tmp_path, "ping", REDIS_SOCKET=path)
    assert outcome.code == ExitCode.DENIED
    assert f"next: ls -l {path}" in outcome.err


def test_a_hung_server_behind_a_socket_costs_one_time_out(valkey_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "h.sock"
    server = valkey_server("--unixsocket", str(path))
    server.pause()
    found = checks(run(tmp_path, "doctor", "--only", "connect", "--timeout", "0.3", "--json", REDIS_SOCKET=str(path)))
    assert found["connect"]["fix"] == f"kill -CONT {server.pid}"
    outcome = run(tmp_path, "ping", "--timeout", "0.3", REDIS_SOCKET=str(path))
    assert outcome.code == ExitCode.UNAVAILABLE
    assert "did not answer within 0.3 s" in outcome.err
    assert outcome.seconds < 0.8


def test_monitor_looks_over_a_socket_too(path: str, tmp_path: Path) -> None:
    outcome = run(tmp_path, "monitor", "--seconds", "0.2", "--json", REDIS_SOCKET=path)
    assert outcome.code == 0, outcome.err


def test_a_cluster_is_reached_over_ipv6(valkey_server: StartServer, settings: Settings) -> None:
    bus = ("--cluster-port", str(free_port()))  # else it is 10,000 above a port that may be too high for that
    server = valkey_server("--cluster-enabled", "yes", *bus, "--bind", HOST, "::1", "--cluster-announce-ip", "::1")
    with server.client(socket_timeout=5) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    cluster = replace(settings, redis_host="::1", redis_port=server.port, redis_mode="cluster", timeout=2.0)
    tier = RedisAdmin(cluster)
    try:
        assert [one.place for one in tier.servers()] == [f"[::1]:{server.port}"]
        assert tier.ping() < 2
    finally:
        tier.close()


def test_a_user_and_a_password_file_let_us_in(server: ValkeyServer, path: str, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    environment = {"REDIS_URL": f"unix://shop@{path}", "REDIS_PASSWORD_FILE": str(secret)}
    assert run(tmp_path, "ping", "-c", "1", **environment).code == 0
    secret.write_text("wrong\n")
    assert run(tmp_path, "ping", "-c", "1", **environment).code == ExitCode.DENIED


def test_no_password_is_in_the_file_of_an_incident_nor_in_a_log(path: str, tmp_path: Path) -> None:
    environment = {"REDIS_URL": f"unix://shop:s3cret@{path}", "REDIS_TLS_KEY_PASSWORD": "s3cret", "DEBUG": "redis:*"}
    outcome = run(tmp_path, "incident", "--out", "-", **environment)
    assert outcome.code == 0, outcome.err
    assert "shop:********@" in outcome.out
    assert "s3cret" not in outcome.out + outcome.err


def test_config_shows_where_each_part_comes_from_and_never_the_password(path: str, tmp_path: Path) -> None:
    outcome = run(tmp_path, "config", "show", REDIS_URL="rediss://shop:s3cret@cache:6390/1")
    assert outcome.code == 0
    assert "s3cret" not in outcome.out + outcome.err
    assert "rediss://shop:********@cache:6390/1" in outcome.out
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("REDIS_PORT")]
    assert line.split() == ["REDIS_PORT", "6390", "REDIS_URL"]
    found = document(run(tmp_path, "config", "show", "--json", REDIS_URL="rediss://shop:s3cret@cache:6390/1"))
    (port,) = [item for item in found["settings"] if item["variable"] == "REDIS_PORT"]
    assert (port["value"], port["origin"], port["via"]) == (6390, "environment", "REDIS_URL")

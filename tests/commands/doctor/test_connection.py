"""The way to Redis: each trouble has its own name, what shows it, and a fix; and what Redis lets us ask."""

from __future__ import annotations

import errno
import itertools
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from checkout_cli.checks import Status
from checkout_cli.commands.doctor import connection
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.ping import explain
from checkout_cli.config.settings import Settings
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.installation import Program
from checkout_cli.servers.machine import user_name
from checkout_cli.store.database.admin import DatabaseAdmin
from tests.support.cluster import Cluster
from tests.support.doctoring import DEBIAN, FakeMachine, at, finding
from tests.support.liar import Liar, without_run_id
from tests.support.odd_servers import OddServer
from tests.support.ports import free_port
from tests.support.servers import RedisServer, ValkeyServer
from tests.support.stores import make_store, make_tables

StartServer = Callable[..., ValkeyServer]


@pytest.fixture(autouse=True)
def _no_servers_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_USUAL_PORTS", ())


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A process of ours that is not Redis, on a port; without an answer, it says nothing."""
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            try:
                peer, _ = server.accept()
            except TimeoutError:
                continue
            with peer:
                if answer is None:
                    stopping.wait(5)
                else:
                    peer.recv(100)
                    peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopping.set()
            thread.join(5)


# connection


def test_a_redis_that_answers_is_told_with_its_stages(settings: Settings, tmp_path: Path) -> None:
    found = finding(settings, "connect", tmp_path)
    assert found.status is Status.OK
    assert f"127.0.0.1 port {settings.redis_port} answers: DNS" in found.evidence
    assert set(found.numbers["stagesMs"]) == {"DNS", "TCP"}


def test_nothing_listens_and_nothing_is_installed(tmp_path: Path, machine: FakeMachine) -> None:
    found = finding(at(free_port()), "connect", tmp_path, machine=machine)
    assert (found.status, found.numbers["trouble"], found.numbers["stage"]) == (Status.CRIT, "not installed", "TCP")
    assert found.fix == "apt-get update && apt-get install -y redis-server"  # it is started on our port later


def test_nothing_listens_and_a_server_is_installed(tmp_path: Path, machine: FakeMachine) -> None:
    machine.installation = replace(DEBIAN, programs=(Program("redis-server", "/usr/bin/redis-server"),))
    found = finding(at(free_port()), "connect", tmp_path, machine=machine)
    assert found.numbers["trouble"] == "not running"
    assert "/usr/bin/redis-server is installed" in found.evidence
    assert found.fix.startswith("redis-server --port ")


def test_a_redis_on_another_port_is_found_by_its_process(
    valkey: ValkeyServer, tmp_path: Path, machine: FakeMachine
) -> None:
    assert valkey.pid is not None
    machine.run(valkey.pid, "valkey-server")
    machine.listen(valkey.port, pid=valkey.pid)
    settings = filled(valkey, tmp_path)
    found = finding(replace(settings, redis_port=free_port()), "connect", tmp_path, machine=machine)
    assert found.numbers["trouble"] == "wrong port"
    assert found.fix == f"checkoutctl config set REDIS_PORT={valkey.port}"


def filled(server: ValkeyServer, directory: Path) -> Settings:
    """Settings of a shop whose one session is in the database and in a server."""
    settings = at(server.port, database_url=f"sqlite:///{directory / 'shop.db'}")
    with make_store(settings) as store:
        make_tables(store.database)
        store.create({}, checkout_id="session-0001")
    return settings


def test_a_strangers_redis_on_another_port_is_not_pointed_at(
    valkey: ValkeyServer, valkey_server: StartServer, tmp_path: Path, machine: FakeMachine
) -> None:
    assert valkey.pid is not None
    machine.run(valkey.pid, "valkey-server")
    machine.listen(valkey.port, pid=valkey.pid)
    settings = filled(valkey_server(), tmp_path)  # so that there are sessions, and none of them in the other one
    found = finding(replace(settings, redis_port=free_port()), "connect", tmp_path, machine=machine)
    assert found.numbers["trouble"] == "not installed"
    assert str(valkey.port) not in found.fix


def test_a_redis_on_another_port_is_found_by_its_title_where_its_sockets_are_hidden(
    valkey: ValkeyServer, tmp_path: Path, machine: FakeMachine
) -> None:
    machine.run(77, "redis-server", title=f"/usr/bin/redis-server 127.0.0.1:{valkey.port}")
    settings = replace(filled(valkey, tmp_path), redis_port=free_port())
    assert finding(settings, "connect", tmp_path, machine=machine).numbers["trouble"] == "wrong port"


def test_a_port_in_a_title_on_which_nothing_answers_is_no_redis(tmp_path: Path, machine: FakeMachine) -> None:
    machine.run(77, "redis-server", title=f"/usr/bin/redis-server 127.0.0.1:{free_port()}")
    assert finding(at(free_port()), "connect", tmp_path, machine=machine).numbers["trouble"] == "not installed"


def test_a_redis_on_another_address_of_the_same_port(tmp_path: Path, machine: FakeMachine) -> None:
    port = free_port()
    machine.run(77, "redis-server")
    machine.listen(port, pid=77, address="10.0.0.10")
    found = finding(at(port), "connect", tmp_path, machine=machine)
    assert found.numbers["trouble"] == "wrong address"
    assert found.fix == "checkoutctl config set REDIS_HOST=10.0.0.10"


def failing_dial(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def dial(*_: object) -> None:
        raise error

    monkeypatch.setattr("checkout_cli.commands.ping.ping.dialled", dial)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (TimeoutError(), "firewalled"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "firewalled"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no route"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "not running"),
    ],
)
def test_another_machine_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: FakeMachine, error: OSError, trouble: str
) -> None:
    failing_dial(monkeypatch, error)
    found = finding(at(6379, "192.0.2.77"), "connect", tmp_path, machine=machine)
    assert (found.status, found.numbers["trouble"]) == (Status.CRIT, trouble)
    assert "192.0.2.77" in found.fix


def test_a_stopped_server_is_hung_and_told_how_to_go_on(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server()
    server.pause()
    found = finding(at(server.port), "connect", tmp_path)
    assert found.numbers["trouble"] == "hung"
    assert f"process {server.pid}" in found.evidence
    assert found.fix == f"kill -CONT {server.pid}"
    assert "and did not answer within 0.5 s" in found.evidence


def test_a_server_that_hangs_elsewhere_is_looked_at_there(
    valkey_server: StartServer, tmp_path: Path, machine: FakeMachine
) -> None:
    server = valkey_server()
    server.pause()
    machine.own = set()
    found = finding(at(server.port), "connect", tmp_path, machine=machine)
    assert found.numbers["trouble"] == "hung"
    assert found.fix.startswith("ssh 127.0.0.1 ps ")


def test_a_wrong_password_is_a_trouble_of_its_own(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--requirepass", "right")
    found = finding(at(server.port, redis_password="wrong-one"), "connect", tmp_path)
    assert found.numbers["trouble"] == "password"
    assert found.numbers["stage"] == "authentication"
    assert "wrong-one" not in found.evidence + found.fix
    assert finding(at(server.port, redis_password="right"), "connect", tmp_path).status is Status.OK


def test_a_user_who_may_not_ping_lacks_a_permission_not_a_password(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "-@all", "+get")
    found = finding(at(server.port, redis_username="reader", redis_password="secret"), "connect", tmp_path)
    assert found.numbers["trouble"] == "permission"
    assert found.fix == "checkoutctl acl check"


def test_a_name_without_an_address(tmp_path: Path) -> None:
    found = finding(at(6379, "redis.invalid"), "connect", tmp_path)
    assert (found.numbers["trouble"], found.numbers["stage"]) == ("unknown name", "DNS")


def test_sentinels_that_name_no_primary(tmp_path: Path) -> None:
    settings = at(6379, redis_sentinels=f"127.0.0.1:{free_port()}")
    found = finding(settings, "connect", tmp_path)
    assert (found.status, found.numbers["trouble"]) == (Status.CRIT, "no primary")


def test_something_else_on_the_port_is_a_wrong_port(tmp_path: Path) -> None:
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        found = finding(at(port), "connect", tmp_path)
    assert found.numbers["trouble"] == "wrong port"
    assert "an HTTP server" in found.evidence


@pytest.mark.parametrize("odd", ["loading"], indirect=True)
def test_a_server_that_loads_is_told_and_still_examined(odd: OddServer, tmp_path: Path) -> None:
    found = finding(odd.settings(), "connect", tmp_path)
    assert (found.status, found.numbers["trouble"]) == (Status.CRIT, "loading")
    assert finding(odd.settings(), "server-version", tmp_path).status is Status.OK


# TLS


@pytest.fixture
def tls(valkey_server: StartServer, tmp_path: Path) -> Callable[[int], tuple[ValkeyServer, Settings]]:
    """Starts Debian's Redis with TLS; its certificate, for localhost, is valid for so many days."""

    def start(valid: int) -> tuple[ValkeyServer, Settings]:
        key, certificate, port = tmp_path / "key.pem", tmp_path / "certificate.pem", free_port()
        command = f"req -x509 -newkey rsa:2048 -nodes -days {valid} -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(["openssl", *command.split(), *names], check=True, capture_output=True)
        files = [
            "--tls-cert-file",
            str(certificate),
            "--tls-key-file",
            str(key),
            "--tls-ca-cert-file",
            str(certificate),
        ]
        server = valkey_server("--tls-port", str(port), "--tls-auth-clients", "no", *files, kind=RedisServer)
        settings = at(port, "localhost", redis_tls=True, redis_tls_ca_file=str(certificate))
        return server, replace(settings, timeout=2.0)

    return start


@pytest.mark.needs("openssl", "redis-server")
@pytest.mark.parametrize(("valid", "status"), [(2, Status.CRIT), (20, Status.WARN), (90, Status.OK)])
def test_a_certificate_is_judged_by_the_days_that_are_left(
    tls: Callable[[int], tuple[ValkeyServer, Settings]], tmp_path: Path, valid: int, status: Status
) -> None:
    _, settings = tls(valid)
    found = finding(settings, "certificate", tmp_path)
    assert found.status is status
    assert found.numbers["days"] in {valid - 1, valid}
    assert bool(found.fix) is (status is not Status.OK)


@pytest.mark.needs("openssl", "redis-server")
def test_tls_troubles_are_told_apart(tls: Callable[[int], tuple[ValkeyServer, Settings]], tmp_path: Path) -> None:
    server, settings = tls(90)
    assert finding(settings, "connect", tmp_path).status is Status.OK
    assert "TLS" in finding(settings, "connect", tmp_path).numbers["stagesMs"]

    plain_to_tls = replace(settings, redis_tls=False, redis_tls_ca_file="")
    found = finding(plain_to_tls, "connect", tmp_path)
    assert found.numbers["trouble"] == "TLS mismatch"
    assert "REDIS_TLS=true" in found.fix

    tls_to_plain = replace(settings, redis_port=server.port)
    found = finding(tls_to_plain, "connect", tmp_path)
    assert found.numbers["trouble"] == "TLS mismatch"
    assert "REDIS_TLS=false" in found.fix

    untrusted = replace(settings, redis_tls_ca_file="")
    found = finding(untrusted, "connect", tmp_path)
    assert (found.numbers["trouble"], found.numbers["stage"]) == ("certificate", "TLS")
    assert "REDIS_TLS_CA_FILE" in found.fix

    wrong_name = replace(settings, redis_host="127.0.0.1")
    assert finding(wrong_name, "connect", tmp_path).numbers["trouble"] == "certificate"
    assert finding(wrong_name, "certificate", tmp_path).status is Status.SKIPPED


def test_a_server_that_just_closes_is_no_tls_mismatch(tmp_path: Path) -> None:
    with listener(b"") as port:
        found = finding(at(port), "connect", tmp_path)
    assert found.numbers["trouble"] == "other"
    assert "closed the connection without an answer" in found.evidence


def test_a_certificate_is_skipped_without_tls(settings: Settings, tmp_path: Path) -> None:
    found = finding(settings, "certificate", tmp_path)
    assert (found.status, found.evidence) == (Status.SKIPPED, "REDIS_TLS is off")


# port-in-use


def test_a_port_that_redis_holds_is_as_it_should_be(valkey: ValkeyServer, settings: Settings, tmp_path: Path) -> None:
    found = finding(settings, "port-in-use", tmp_path)
    assert found.status is Status.OK
    assert f"valkey-server (process {valkey.pid}" in found.evidence


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", None], ids=["HTTP", "silence"])
def test_a_foreign_process_on_the_port_is_named(tmp_path: Path, answer: bytes | None) -> None:
    with listener(answer) as port:
        found = finding(at(port), "port-in-use", tmp_path)
    assert found.status is Status.CRIT
    assert found.numbers["pid"] == os.getpid()
    assert found.numbers["user"] == user_name(os.getuid())
    assert "is not Redis" in found.evidence
    assert found.fix == f"systemctl status {os.getpid()}"


def test_a_silent_foreign_process_makes_no_hung_redis_of_it(tmp_path: Path) -> None:
    with listener(None) as port:
        found = finding(at(port), "connect", tmp_path)
    assert found.numbers["trouble"] == "wrong port"
    assert "--only port-in-use" in found.fix


def test_a_container_is_named_by_its_published_port(tmp_path: Path, machine: FakeMachine) -> None:
    with listener(b"SSH-2.0-OpenSSH_9.6\r\n") as port:
        machine.run(55, "docker-proxy", user=0)
        machine.listen(port, pid=55)
        found = finding(at(port), "port-in-use", tmp_path, machine=machine)
    assert f"docker ps --filter publish={port}" in found.fix


def test_a_process_that_only_root_may_see_is_told_with_its_user(tmp_path: Path, machine: FakeMachine) -> None:
    machine.owner = 0
    with listener(b"SSH-2.0-OpenSSH_9.6\r\n") as port:
        machine.listen(port)
        found = finding(at(port), "port-in-use", tmp_path, machine=machine)
    assert found.status is Status.CRIT
    assert "a process of user root holds" in found.evidence
    assert found.fix.startswith("sudo ss -ltnp")


def test_where_nobody_may_see_it_the_command_to_find_out_is_told(
    tmp_path: Path, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener(b"SSH-2.0-OpenSSH_9.6\r\n") as port:
        assert "lsof -nP" in finding(at(port), "port-in-use", tmp_path, machine=machine).fix
        monkeypatch.setattr(FakeMachine, "platform", "win32")
        assert "netstat -ano" in finding(at(port), "port-in-use", tmp_path, machine=machine).fix


def test_another_address_of_the_machine_on_the_same_port_is_not_blamed(
    settings: Settings, tmp_path: Path, machine: FakeMachine
) -> None:
    machine.run(55, "nginx")
    machine.listen(settings.redis_port, pid=55, address="10.0.0.10")
    assert "nginx" not in finding(settings, "port-in-use", tmp_path, machine=machine).evidence


def test_a_port_of_another_machine_or_of_nobody_is_skipped(tmp_path: Path, machine: FakeMachine) -> None:
    assert finding(at(free_port()), "port-in-use", tmp_path).status is Status.SKIPPED
    machine.own = set()
    found = finding(at(free_port()), "port-in-use", tmp_path, machine=machine)
    assert "is not this machine" in found.evidence


# clock, capability, managed, install, server-version


@pytest.mark.parametrize(("shift", "status"), [(0, Status.OK), (-5000, Status.WARN), (5000, Status.WARN)])
def test_clocks_that_differ_are_told(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int, status: Status
) -> None:
    now = DoctorContext.now
    monkeypatch.setattr(DoctorContext, "now", lambda self: now(self) + shift)
    found = finding(settings, "clock", tmp_path)
    assert found.status is status
    if shift:
        assert found.numbers["apartS"] == pytest.approx(5, abs=0.5)
        assert ("ahead of" in found.evidence) is (shift < 0)


def test_the_databases_clock_is_compared_too(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_store(settings) as store:
        make_tables(store.database)
    assert finding(settings, "database-clock", tmp_path).evidence == "SQLite has no clock of its own"
    monkeypatch.setattr(DatabaseAdmin, "own_time", lambda _: int((time.time() - 60) * 1000))
    found = finding(settings, "database-clock", tmp_path)
    assert (found.status, found.numbers["apartS"]) == (Status.WARN, pytest.approx(60, abs=0.5))
    assert found.evidence.startswith("the database's clock is 60.")


def test_half_of_a_slow_round_trip_is_no_difference(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks = DoctorContext.now, itertools.chain([-4000, 4000], itertools.repeat(0))
    monkeypatch.setattr(DoctorContext, "now", lambda self: now(self) + next(looks))
    assert finding(settings, "clock", tmp_path).numbers["apartS"] == 0


def test_all_commands_allowed_is_ok(settings: Settings, tmp_path: Path) -> None:
    found = finding(settings, "capability", tmp_path)
    assert found.status is Status.OK
    assert "CONFIG GET" in found.evidence


@pytest.mark.parametrize(
    ("command", "grant"),
    [
        ("config", "+config|get"),
        ("client", "+client|list"),
        ("memory", "+memory|usage"),
        ("slowlog", "+slowlog|get"),
        ("latency", "+latency|latest"),
        ("info", "+info"),
    ],
)
def test_a_denied_command_is_told_with_its_grant_and_its_cost(
    valkey_server: StartServer, tmp_path: Path, command: str, grant: str
) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", f"-{command}")
    settings = at(server.port, redis_username="limited", redis_password="secret")
    found = finding(settings, "capability", tmp_path)
    assert found.status is Status.WARN
    assert found.numbers["grants"] == [grant]
    assert found.fix.endswith(shlex.join(["ACL", "SETUSER", "limited", grant]))
    with server.client() as client:  # the grant is exactly what was missing
        client.execute_command("ACL", "SETUSER", "limited", grant)
    assert finding(settings, "capability", tmp_path).status is Status.OK


def test_without_info_no_copy_is_trusted_and_that_is_said(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--rename-command", "INFO", "")
    assert finding(at(server.port), "capability", tmp_path).status is Status.WARN
    found = finding(at(server.port), "requirements", tmp_path)
    assert found.status is Status.CRIT
    assert "the database answers every read" in found.evidence


def test_a_server_that_tells_no_run_id_is_critical(valkey: ValkeyServer, tmp_path: Path) -> None:
    with Liar(valkey.port) as liar:
        assert finding(at(liar.port), "requirements", tmp_path).status is Status.OK
        liar.lies["INFO"] = without_run_id
        found = finding(at(liar.port), "requirements", tmp_path)
    assert (found.status, found.evidence[:24]) == (Status.CRIT, "its identity is not told")


def test_a_command_that_its_provider_removed_is_told_and_no_fault(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--rename-command", "CONFIG", "")
    found = finding(at(server.port), "capability", tmp_path)
    assert found.status is Status.OK
    assert "CONFIG GET is not there" in found.evidence


def test_in_a_cluster_a_key_of_another_server_is_no_missing_command(tmp_path: Path, cluster: Cluster) -> None:
    found = finding(at(cluster.primaries[0].port, redis_mode="cluster"), "capability", tmp_path)
    assert found.status is Status.OK
    assert "3 of 3 servers are ok" in found.evidence


def test_a_managed_service_is_named(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(settings, "managed", tmp_path).evidence == "nothing shows a managed service"
    monkeypatch.setattr(DoctorContext, "address", lambda *_: ("shop.abc.0001.euw1.cache.amazonaws.com", 6379))
    found = finding(settings, "managed", tmp_path)
    assert found.numbers["provider"] == "Amazon ElastiCache"
    assert "parameter group" in found.evidence


def test_a_missing_hiredis_is_told(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    assert finding(settings, "install", tmp_path).status is Status.OK
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name == "hiredis":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = finding(settings, "install", tmp_path)
    assert (found.status, found.fix) == (Status.WARN, "pip install hiredis")


def test_both_servers_are_new_enough(any_redis_server: ValkeyServer, tmp_path: Path) -> None:
    assert finding(at(any_redis_server.port), "server-version", tmp_path).status is Status.OK


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"redis_version": "6.0.16"}, Status.CRIT),
        ({"redis_version": "6.2.0"}, Status.OK),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.9"}, Status.CRIT),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, Status.OK),
    ],
)
def test_a_server_is_judged_by_its_own_kinds_versions(fields: dict[str, str], status: Status) -> None:
    server = SimpleNamespace(info=lambda: Info({"server": fields}))
    assert connection.server_version(None, server).status is status  # type: ignore[arg-type]

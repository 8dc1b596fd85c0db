"""The machine under Redis: looked at only where the server provably runs on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from checkout_cli.checks import Status
from checkout_cli.commands.doctor import host
from checkout_cli.config.settings import Settings
from checkout_cli.servers.machine import Machine, Process, Room
from tests.support.doctoring import FakeMachine, at, finding
from tests.support.servers import ValkeyServer

StartServer = Callable[..., ValkeyServer]
ANOTHER = os.getuid() + 4321
"""A user who owns nothing here."""
THP = "sys/kernel/mm/transparent_hugepage/enabled"
CLOCK = "sys/devices/system/clocksource/clocksource0"
HOST_CHECKS = ("kernel-overcommit", "transparent-huge-pages", "somaxconn", "swap", "clocksource", "data-directory")


def inhabited(machine: FakeMachine, server: ValkeyServer, **status: str) -> FakeMachine:
    """A machine on which that server runs, as another user than we are."""
    assert server.pid is not None
    machine.run(server.pid, "valkey-server", user=ANOTHER, **{"VmSwap": "0 kB", **status})
    machine.listen(server.port, pid=server.pid)
    return machine


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")


@pytest.fixture
def home(machine: FakeMachine, valkey: ValkeyServer) -> FakeMachine:
    """The shared server's."""
    return inhabited(machine, valkey)


# Whether it is this machine


def test_a_server_of_this_very_machine_is_proven(settings: Settings, tmp_path: Path) -> None:
    assert finding(settings, "data-directory", tmp_path).status is not Status.SKIPPED


def not_proven(settings: Settings, machine: Machine, tmp_path: Path) -> str:
    found = [finding(settings, name, tmp_path, machine=machine) for name in HOST_CHECKS]
    assert {item.status for item in found} == {Status.SKIPPED}
    (reason,) = {item.evidence for item in found}  # the same for all, not that a file is missing
    return reason


def test_the_same_process_id_of_another_program_proves_nothing(
    settings: Settings, valkey: ValkeyServer, machine: FakeMachine, tmp_path: Path
) -> None:
    assert valkey.pid is not None
    machine.run(valkey.pid, "nginx")
    machine.listen(valkey.port, pid=valkey.pid)
    assert "not provable that the server runs on this machine" in not_proven(settings, machine, tmp_path)


def test_a_redis_of_that_process_id_on_another_port_proves_nothing(
    settings: Settings, valkey: ValkeyServer, machine: FakeMachine, tmp_path: Path
) -> None:
    assert valkey.pid is not None
    machine.run(valkey.pid, "redis-server", title="redis-server *:1")
    machine.listen(1, pid=valkey.pid)
    machine.run(valkey.pid + 1, "ssh")
    machine.listen(valkey.port, pid=valkey.pid + 1)
    assert "not provable" in not_proven(settings, machine, tmp_path)


def test_a_title_with_the_port_proves_it_where_sockets_are_hidden(
    settings: Settings, valkey: ValkeyServer, machine: FakeMachine, tmp_path: Path
) -> None:
    assert valkey.pid is not None
    machine.run(valkey.pid, "valkey-server", title=f"valkey-server 127.0.0.1:{valkey.port}", VmSwap="0 kB")
    assert finding(settings, "swap", tmp_path, machine=machine).status is Status.OK


def test_another_address_is_another_machine(settings: Settings, home: FakeMachine, tmp_path: Path) -> None:
    home.own = set()
    assert "127.0.0.1 is another one" in not_proven(settings, home, tmp_path)


def test_without_info_nothing_is_proven(valkey_server: StartServer, machine: FakeMachine, tmp_path: Path) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-info")
    settings = at(server.port, redis_username="limited", redis_password="secret")
    assert "needs +info" in not_proven(settings, inhabited(machine, server), tmp_path)


# The kernel


@pytest.mark.parametrize(
    ("name", "path", "good", "bad", "fix"),
    [
        ("kernel-overcommit", "proc/sys/vm/overcommit_memory", "1", "0", "sysctl -w vm.overcommit_memory=1"),
        ("transparent-huge-pages", THP, "always [madvise] never", "[always] madvise never", "echo madvise"),
        ("somaxconn", "proc/sys/net/core/somaxconn", "511", "128", "sysctl -w net.core.somaxconn=1024"),
        ("clocksource", f"{CLOCK}/current_clocksource", "tsc", "xen", "echo tsc"),
    ],
)
def test_each_setting_of_the_kernel(
    settings: Settings, home: FakeMachine, tmp_path: Path, name: str, path: str, good: str, bad: str, fix: str
) -> None:
    home.write(f"{CLOCK}/available_clocksource", "xen tsc\n")
    assert finding(settings, name, tmp_path, machine=home).status is Status.SKIPPED or name == "clocksource"
    home.write(path, f"{good}\n")
    assert finding(settings, name, tmp_path, machine=home).status is Status.OK
    home.write(path, f"{bad}\n")
    found = finding(settings, name, tmp_path, machine=home)
    assert found.status is Status.WARN
    assert fix in found.fix


def test_huge_pages_that_the_server_switched_off_for_itself_are_no_trouble(
    settings: Settings, valkey: ValkeyServer, machine: FakeMachine, tmp_path: Path
) -> None:
    inhabited(machine, valkey, THP_enabled="0").write(THP, "[always] madvise never\n")
    assert finding(settings, "transparent-huge-pages", tmp_path, machine=machine).status is Status.OK


def test_a_machine_that_has_only_xen_is_left_in_peace(settings: Settings, home: FakeMachine, tmp_path: Path) -> None:
    home.write(f"{CLOCK}/current_clocksource", "xen")
    home.write(f"{CLOCK}/available_clocksource", "xen")
    assert finding(settings, "clocksource", tmp_path, machine=home).status is Status.OK


def test_the_backlog_that_the_server_asks_for_is_what_counts(
    valkey_server: StartServer, machine: FakeMachine, tmp_path: Path
) -> None:
    server = valkey_server("--tcp-backlog", "2048")
    inhabited(machine, server).write("proc/sys/net/core/somaxconn", "1024")
    found = finding(at(server.port), "somaxconn", tmp_path, machine=machine)
    assert (found.status, found.numbers) == (Status.WARN, {"somaxconn": 1024, "backlog": 2048})


@pytest.mark.parametrize(("swapped", "status"), [("0 kB", Status.OK), ("2048 kB", Status.WARN)])
def test_a_server_in_swap(
    settings: Settings, valkey: ValkeyServer, machine: FakeMachine, tmp_path: Path, swapped: str, status: Status
) -> None:
    found = finding(settings, "swap", tmp_path, machine=inhabited(machine, valkey, VmSwap=swapped))
    assert found.status is status
    if status is Status.WARN:
        assert "2.0 MiB" in found.evidence


# The data directory


@pytest.fixture
def durable(valkey_server: StartServer, machine: FakeMachine) -> tuple[Settings, Path, FakeMachine]:
    """A server that keeps its data, its settings, and where its directory is on the machine: writable for everybody."""
    server = valkey_server("--save", "3600 1")
    place = inhabited(machine, server).path(str(server.directory.resolve()))
    place.mkdir(parents=True)
    place.chmod(0o777)
    return at(server.port), place, machine


def test_a_directory_that_the_server_may_write_is_told_with_its_room(
    durable: tuple[Settings, Path, FakeMachine], tmp_path: Path
) -> None:
    settings, _, machine = durable
    found = finding(settings, "data-directory", tmp_path, machine=machine)
    assert found.status is Status.OK
    assert "50.0 GiB (50%) of its disk are free" in found.evidence


def test_a_directory_of_another_owner_is_denied_and_the_fix_names_the_servers_own_user(
    durable: tuple[Settings, Path, FakeMachine], tmp_path: Path
) -> None:
    settings, place, machine = durable
    place.chmod(0o755)
    (place / "dump.rdb").write_bytes(b"REDIS0011")
    found = finding(settings, "data-directory", tmp_path, machine=machine)
    assert found.status is Status.CRIT
    assert f"user {ANOTHER} may not write" in found.evidence
    assert "mode 0755" in found.evidence
    directory = f"/{place.relative_to(machine.root)}"
    assert found.fix == f"sudo chown -R {ANOTHER}:{ANOTHER} {directory} && sudo chmod 750 {directory}"


def test_a_dump_that_the_server_cannot_read_is_denied(
    durable: tuple[Settings, Path, FakeMachine], tmp_path: Path
) -> None:
    settings, place, machine = durable
    dump = place / "dump.rdb"
    dump.touch()
    dump.chmod(0o644)
    assert finding(settings, "data-directory", tmp_path, machine=machine).status is Status.OK
    dump.chmod(0o600)
    found = finding(settings, "data-directory", tmp_path, machine=machine)
    assert found.status is Status.CRIT
    assert "may not read" in found.evidence
    assert "dump.rdb" in found.evidence


def test_append_only_files_must_be_writable(valkey_server: StartServer, machine: FakeMachine, tmp_path: Path) -> None:
    server = valkey_server("--appendonly", "yes")
    place = inhabited(machine, server).path(str(server.directory.resolve())) / "appendonlydir"
    place.mkdir(parents=True)
    place.parent.chmod(0o777)
    place.chmod(0o777)
    part = place / "appendonly.aof.1.incr.aof"
    part.touch()
    part.chmod(0o666)
    assert finding(at(server.port), "data-directory", tmp_path, machine=machine).status is Status.OK
    part.chmod(0o644)
    found = finding(at(server.port), "data-directory", tmp_path, machine=machine)
    assert "may not write" in found.evidence
    assert "appendonlydir/appendonly.aof.1.incr.aof" in found.evidence


def test_a_save_that_failed_is_told_though_the_owner_is_right(
    valkey_server: StartServer, machine: FakeMachine, tmp_path: Path
) -> None:
    server = valkey_server("--save", "3600 1")
    inhabited(machine, server)
    with server.client(socket_timeout=5) as client:
        (server.directory / "dump.rdb").mkdir()  # nothing can be renamed over it, not even by root
        client.execute_command("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
        client.execute_command("BGSAVE")
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            pass
        assert client.info("persistence")["rdb_last_bgsave_status"] == "err"
    found = finding(at(server.port), "data-directory", tmp_path, machine=machine)
    assert found.status is Status.CRIT
    assert "rdb_last_bgsave_status is err" in found.evidence
    assert "df -h" in found.fix
    refused = finding(at(server.port), "connect", tmp_path)  # such a server refuses PING too
    assert (refused.status, refused.numbers["trouble"]) == (Status.CRIT, "saves fail")
    assert "--only data-directory" in refused.fix


@pytest.mark.parametrize(
    ("room", "status"),
    [
        (Room(100 * 2**30, 9 * 2**30), Status.WARN),
        (Room(2**21, 2**20), Status.WARN),  # half of it is free, and two dumps do not fit
        (Room(100 * 2**30, 11 * 2**30), Status.OK),
    ],
)
def test_a_disk_that_fills_is_told(
    durable: tuple[Settings, Path, FakeMachine], tmp_path: Path, room: Room, status: Status
) -> None:
    settings, _, machine = durable
    machine.disk = room
    assert finding(settings, "data-directory", tmp_path, machine=machine).status is status


def test_without_config_the_directory_is_unknown(
    valkey_server: StartServer, machine: FakeMachine, tmp_path: Path
) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-config")
    settings = at(server.port, redis_username="limited", redis_password="secret")
    found = finding(settings, "data-directory", tmp_path, machine=inhabited(machine, server))
    assert (found.status, found.evidence) == (Status.SKIPPED, "needs +config|get")


SERVER = Process(1, "redis-server", "", ANOTHER, (ANOTHER,), "S")


def holding(machine: FakeMachine, directory: str, *names: str, beginning: bytes = b"REDIS0011") -> str:
    """The advice for a directory with such files."""
    place = machine.path(directory)
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(beginning)
    return host._ownership(machine, {"dir": directory}, SERVER)


@pytest.mark.parametrize(
    "directory",
    [
        *(
            "/",
            "/root",
            "/tmp",
            "/var/lib",
            "/usr/share/redis",
            "/home/",
            "/etc/redis",
            "//etc/cron.d",
            "//var/lib/redis",
        ),
        *("/home/ada/redis", "/root/x", "/run/redis/x"),
    ],
)
def test_a_directory_that_others_live_in_is_never_given_away(machine: FakeMachine, directory: str) -> None:
    fix = holding(machine, directory, "dump.rdb")
    assert "chown" not in fix
    assert "CONFIG SET dir /var/lib/redis" in fix


@pytest.mark.parametrize("directory", ["/var/lib/redis", "/data/redis", "/srv/shop/redis"])
def test_a_directory_of_its_own_is(machine: FakeMachine, directory: str) -> None:
    fix = holding(machine, directory, "dump.rdb", "appendonlydir/appendonly.aof.manifest")
    assert fix.startswith(f"sudo chown -R {ANOTHER}:{ANOTHER} {directory} ")


@pytest.mark.parametrize(
    ("names", "beginning"),
    [
        ((), b""),
        (("dump.rdb",), b"* * * * * root"),
        (("dump.rdb", "authorized_keys"), b"REDIS0011"),
        (("dump.rdb", "appendonlydir/passwd"), b"REDIS0011"),
    ],
)
def test_only_a_directory_that_holds_data_alone_is_given_to_the_server(
    machine: FakeMachine, names: tuple[str, ...], beginning: bytes
) -> None:
    assert "sudo" not in holding(machine, "/srv/shop/redis", *names, beginning=beginning)


@pytest.mark.parametrize(
    "directory", ["/srv/shop/../redis", "/srv//shop/redis", "/srv/shop/./redis", "/srv/link/redis"]
)
def test_a_path_that_leads_elsewhere_gets_no_privileged_advice(machine: FakeMachine, directory: str) -> None:
    machine.path("/srv/shop").mkdir(parents=True)
    machine.path("/srv/link").symlink_to(machine.path("/srv/shop"))
    assert "sudo" not in holding(machine, directory, "dump.rdb")


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_link_among_the_data_gets_none_either(machine: FakeMachine, link: str) -> None:
    holding(machine, "/srv/shop/redis", "dump.rdb")
    target = machine.path("/srv/secret")
    target.write_text("secret")
    getattr(machine.path("/srv/shop/redis/temp-1.rdb"), link)(target)
    assert "sudo" not in host._ownership(machine, {"dir": "/srv/shop/redis"}, SERVER)


@pytest.mark.parametrize(("groups", "may"), [((5,), False), ((), True)])
def test_permissions_are_those_of_the_closest_class(tmp_path: Path, groups: tuple[int, ...], may: bool) -> None:
    """A member of the group has the group's, even where others have more."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o707)
    mine = (place.stat().st_gid, *groups) if groups else ()
    process = Process(1, "redis-server", "", ANOTHER, mine, "S")
    assert host._may(process, place, 0o3) is may

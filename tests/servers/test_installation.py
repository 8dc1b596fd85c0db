from __future__ import annotations

import pytest

from checkout_cli.servers.installation import (
    Installation,
    Program,
    found_programs,
    system_of,
    this_system,
)

DEBIAN = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}
UBUNTU = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04"}
MINT = {"ID": "linuxmint", "ID_LIKE": "ubuntu debian", "VERSION_ID": "21"}
CENTOS_7 = {"ID": "centos", "ID_LIKE": "rhel fedora", "VERSION_ID": "7"}
ROCKY_9 = {"ID": "rocky", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "9.4"}
RHEL_10 = {"ID": "rhel", "ID_LIKE": "fedora", "VERSION_ID": "10.0"}
FEDORA_42 = {"ID": "fedora", "VERSION_ID": "42"}
FEDORA_39 = {"ID": "fedora", "VERSION_ID": "39"}
ARCH = {"ID": "arch"}
MANJARO = {"ID": "manjaro", "ID_LIKE": "arch"}
ALPINE = {"ID": "alpine", "VERSION_ID": "3.20.1"}


@pytest.mark.parametrize(
    ("kernel", "release", "install", "start"),
    [
        (
            "Linux",
            DEBIAN,
            "sudo apt-get update && sudo apt-get install -y redis-server",
            "sudo systemctl enable --now redis-server",
        ),
        (
            "Linux",
            UBUNTU,
            "sudo apt-get update && sudo apt-get install -y redis-server",
            "sudo systemctl enable --now redis-server",
        ),
        (
            "Linux",
            MINT,
            "sudo apt-get update && sudo apt-get install -y redis-server",
            "sudo systemctl enable --now redis-server",
        ),
        ("Linux", CENTOS_7, "sudo yum install -y redis", "sudo systemctl enable --now redis"),
        ("Linux", ROCKY_9, "sudo dnf install -y redis", "sudo systemctl enable --now redis"),
        ("Linux", RHEL_10, "sudo dnf install -y valkey", "sudo systemctl enable --now valkey"),
        ("Linux", FEDORA_42, "sudo dnf install -y valkey", "sudo systemctl enable --now valkey"),
        ("Linux", FEDORA_39, "sudo dnf install -y redis", "sudo systemctl enable --now redis"),
        ("Linux", ARCH, "sudo pacman -S --needed --noconfirm valkey", "sudo systemctl enable --now valkey"),
        ("Linux", MANJARO, "sudo pacman -S --needed --noconfirm valkey", "sudo systemctl enable --now valkey"),
        ("Linux", ALPINE, "sudo apk add redis", "sudo rc-update add redis && sudo rc-service redis start"),
        ("Darwin", {}, "brew install redis", "brew services start redis"),
        ("Windows", {}, "choco install redis", "redis-server"),
    ],
)
def test_each_system_gets_its_own_commands(kernel: str, release: dict[str, str], install: str, start: str) -> None:
    system = system_of(kernel, release)
    assert Installation(system, (), False, True).install_command == install
    assert Installation(system, (), False, True).start_command == start


def test_root_needs_no_sudo() -> None:
    system = system_of("Linux", DEBIAN)
    assert Installation(system, (), True, True).install_command == "apt-get update && apt-get install -y redis-server"
    assert Installation(system, (), True, True).start_command == "systemctl enable --now redis-server"


def test_without_a_service_manager_the_server_is_started_itself() -> None:
    """As in a container, where systemctl only prints an error."""
    debian, fedora = system_of("Linux", DEBIAN), system_of("Linux", FEDORA_42)
    assert Installation(debian, (), True, False).start_command == "redis-server --daemonize yes"
    assert Installation(fedora, (), True, False).start_command == "valkey-server --daemonize yes"


def test_the_server_that_is_installed_is_the_one_to_start() -> None:
    valkey = (Program("valkey-server", "/usr/bin/valkey-server"),)
    debian = system_of("Linux", DEBIAN)
    assert Installation(debian, valkey, True, True).start_command == "systemctl enable --now valkey"
    assert Installation(debian, valkey, True, False).start_command == "valkey-server --daemonize yes"


def test_an_unknown_system_is_told_where_to_get_it() -> None:
    system = system_of("Linux", {"ID": "void", "PRETTY_NAME": "Void Linux"})
    assert system.name == "Void Linux"
    assert "https://redis.io/downloads" in Installation(system, (), False, True).install_command
    assert Installation(system, (), False, True).start_command == "redis-server --daemonize yes"


def test_a_system_without_an_os_release_file_is_no_error() -> None:
    assert system_of("Linux", {}).family == ""
    assert this_system().name


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=c5ca8e0", "7.0.15"),
        ("Valkey server v=9.1.2 sha=00000000:0 malloc=libc bits=64", "9.1.2"),
        ("redis-cli 7.0.15", "7.0.15"),
        ("valkey-cli 8.0.1\n", "8.0.1"),
        ("something else", ""),
        ("", ""),
    ],
)
def test_programs_are_found_with_their_versions(text: str, version: str) -> None:
    only = {"redis-server": "/opt/redis-server"}
    assert found_programs(only.get, lambda _: text) == (Program("redis-server", "/opt/redis-server", version),)


def test_a_program_that_cannot_run_is_still_found() -> None:
    only = {"valkey-cli": "/nowhere/valkey-cli"}
    assert found_programs(only.get) == (Program("valkey-cli", "/nowhere/valkey-cli", ""),)

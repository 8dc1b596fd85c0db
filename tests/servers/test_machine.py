"""This machine: its processes, who listens where, and which addresses are its own."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from checkout_cli.servers.machine import Machine, group_name, user_name
from tests.support.doctoring import FakeMachine
from tests.support.servers import ValkeyServer


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_listener_of_ours_is_found_with_its_process(family: socket.AddressFamily, address: str) -> None:
    try:
        server = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip(f"no {address} here")
    with server:
        port = server.getsockname()[1]
        (found,) = Machine().listeners(port)
        assert Machine().owner_of(port) == (os.getuid() if sys.platform == "linux" else None)
    assert found.process is not None
    assert (found.address, found.process.pid, found.process.user) == (address, os.getpid(), os.getuid())
    assert not found.process.is_server


def test_a_server_is_known_by_its_name_and_its_ports(valkey: ValkeyServer) -> None:
    machine = Machine()
    assert valkey.pid is not None
    process = machine.process(valkey.pid)
    assert process is not None
    assert process.is_server
    assert valkey.pid in {server.pid for server in machine.servers}
    assert valkey.port in machine.ports_of([process])
    assert valkey.port in process.titled_ports


def test_a_connection_that_is_no_listener_is_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        assert Machine().listeners(connection.getsockname()[1]) == []


def test_a_wildcard_answers_for_every_address_and_another_one_only_for_itself(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.listen(6379, address="0.0.0.0")  # noqa: S104  (said, not bound)
    machine.listen(6380, address="10.0.0.10")
    (wildcard,), (single,) = machine.listeners(6379), machine.listeners(6380)
    assert wildcard.answers_for({"127.0.0.1"})
    assert single.answers_for({"10.0.0.10"})
    assert not single.answers_for({"127.0.0.1"})


def test_arguments_which_may_hold_a_password_are_not_shown(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.run(7, "redis-server", title="redis-server --requirepass secret --port 7000")
    process = machine.process(7)
    assert process is not None
    assert process.titled_ports == {7000}
    assert "secret" not in str(process)


def test_only_own_addresses_can_be_bound_to() -> None:
    machine = Machine()
    assert machine.owns("127.0.0.1")
    assert not machine.owns("192.0.2.254")
    assert not machine.owns("redis.example")
    assert machine.is_here("localhost")
    assert not machine.is_here("redis.invalid")


def test_a_user_without_a_name_is_a_number() -> None:
    assert user_name(4_000_000_001) == "4000000001"
    assert group_name(4_000_000_001) == "4000000001"

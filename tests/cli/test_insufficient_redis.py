"""A Redis that lacks what the store needs, as operators meet it: health, doctor and a write, as processes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.liar import Liar, instead, without_run_id
from tests.support.servers import ValkeyServer

StartServer = Callable[..., ValkeyServer]
ALL = ("--user", "default", "on", "nopass", "~*", "&*", "+@all")
UNKNOWN = b"-ERR unknown command 'GETEX', with args beginning with: \r\n"


class Case(NamedTuple):
    """How a server lacks something: its arguments, or lies about the replies to commands; and what is told of it."""

    arguments: tuple[str, ...] = ()
    lies: tuple[tuple[str, Any], ...] = ()
    command: str = ""
    reason: str = ""
    consequence: str = ""
    serves: bool = True
    published: bool = True


TO_DATABASE = "every read and write of a session goes to the database"
CASES = {
    "no run_id": Case((), (("INFO", without_run_id),), "INFO", "not told", "the database answers every read", False),
    "no EVALSHA": Case(("--rename-command", "EVALSHA", ""), (), "EVALSHA", "unknown", TO_DATABASE, False, False),
    "no GETEX": Case(("--rename-command", "GETEX", ""), (), "GETEX", "unknown", TO_DATABASE, False, False),
    "an engine without GETEX": Case((), (("GETEX", instead(UNKNOWN)),), "GETEX", "unknown", TO_DATABASE, False, False),
    "SCRIPT denied": Case((*ALL, "-script"), (), "SCRIPT LOAD", "denied", TO_DATABASE, False, False),
    "TIME denied": Case((*ALL, "-time"), (), "TIME", "denied", "no cache can be invalidated"),
    "ZADD denied": Case((*ALL, "-zadd"), (), "ZADD", "denied", "new sessions are missing in the index"),
    "ZREM denied": Case((*ALL, "-zrem"), (), "ZREM", "denied", "new sessions are missing in the index"),
    "PEXPIRE denied": Case((*ALL, "-pexpire"), (), "PEXPIRE", "denied", "statistics are not counted"),
}


@contextmanager
def server_of(case: Case, start: StartServer) -> Iterator[int]:
    with Liar(start(*case.arguments).port) as liar:
        liar.lies.update(case.lies)
        yield liar.port


@pytest.mark.parametrize("name", CASES)
def test_it_is_named_with_its_consequence_and_a_session_is_created_all_the_same(
    store: CheckoutStore, valkey_server: StartServer, checkoutctl: Checkoutctl, name: str
) -> None:
    case = CASES[name]
    with server_of(case, valkey_server) as port:
        environment = {"REDIS_PORT": str(port)}
        created = checkoutctl("sessions", "create", "--file", "-", "--json", env=environment, input="{}")
        assert created.returncode == 0, created.stderr
        health = checkoutctl("health", "--json", env=environment)
        doctor = checkoutctl("doctor", "--only", "requirements", "--json", env=environment)
        text = checkoutctl("health", env=environment)
    told = json.loads(created.stdout)
    assert (told["durability"], told["published"]) == ("database", case.published)

    shown = json.loads(health.stdout)
    assert (health.returncode, shown["status"]) == (1, "degraded")
    assert shown["redis"]["checkoutStore"] is case.serves
    (lack,) = shown["redis"]["lacks"]
    assert (lack["command"], lack["reason"]) == (case.command, case.reason)
    assert case.consequence in lack["consequence"]
    assert case.consequence in text.stdout
    assert text.stderr == "next: checkoutctl doctor --only requirements\n"

    assert doctor.returncode == 1
    (result,) = json.loads(doctor.stdout)["checks"]
    assert (result["id"], result["status"]) == ("requirements", "crit")
    assert case.consequence in result["evidence"]


def test_the_control_a_whole_server_is_healthy_and_lacks_nothing(
    store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    health = checkoutctl("health", "--json")
    shown = json.loads(health.stdout)
    assert (health.returncode, shown["status"], shown["redis"]["lacks"]) == (0, "healthy", [])
    assert checkoutctl("doctor", "--only", "requirements").returncode == 0


def test_the_fix_that_doctor_names_is_exactly_what_was_missing(
    store: CheckoutStore, valkey_server: StartServer, checkoutctl: Checkoutctl
) -> None:
    server = valkey_server(*ALL, "-script", "-srem", "-time")
    environment = {"REDIS_PORT": str(server.port)}
    doctor = checkoutctl("doctor", "--only", "requirements", "--json", env=environment)
    (result,) = json.loads(doctor.stdout)["checks"]
    _, _, rule = result["fix"].partition("ACL SETUSER ")
    assert shlex.split(rule) == ["default", "+script|load", "+srem", "+time"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *shlex.split(rule))
    assert checkoutctl("doctor", "--only", "requirements", env=environment).returncode == 0


def test_a_user_who_only_looks_is_no_reason_for_an_alarm(
    store: CheckoutStore, valkey_server: StartServer, checkoutctl: Checkoutctl
) -> None:
    server = valkey_server()
    rule = checkoutctl("acl", "reader", "--json")
    with server.client() as client:
        client.execute_command(*json.loads(rule.stdout)["setuser"].replace("PASSWORD", "secret").split())
    reader = {"REDIS_PORT": str(server.port), "REDIS_USERNAME": "checkout-reader", "REDIS_PASSWORD": "secret"}
    health = checkoutctl("health", "--json", env=reader)
    assert (health.returncode, "lacks" in json.loads(health.stdout)["redis"]) == (0, False)
    doctor = checkoutctl("doctor", "--only", "requirements", "--json", env=reader)
    (result,) = json.loads(doctor.stdout)["checks"]
    assert (doctor.returncode, result["status"]) == (0, "skipped")
    assert "this user only looks" in result["evidence"]

"""Who else could reach Redis, and read what must stay secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from checkout_cli.checks import Status
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.ping.summary import Connected, PingSummary
from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.doctoring import FakeMachine, at, finding
from tests.support.servers import RedisServer, ValkeyServer

StartServer = Callable[..., ValkeyServer]
NOWHERE = "-10.255.255.1"
"""An address that no machine of ours has; the dash lets the server start without it."""


def came_from_afar(monkeypatch: pytest.MonkeyPatch, address: str = "192.0.2.77") -> None:
    summary = PingSummary(address, 6379, connected=Connected(address, {}), sent=1, samples=[0.001])
    monkeypatch.setattr(DoctorContext, "connection", summary)


# exposure


def test_a_server_that_only_its_machine_reaches_is_no_danger(any_redis_server: ValkeyServer, tmp_path: Path) -> None:
    found = finding(at(any_redis_server.port), "exposure", tmp_path)
    assert found.status is Status.OK
    assert "only this machine reaches it (bind 127.0.0.1)" in found.evidence


@pytest.mark.parametrize("kind", [ValkeyServer, pytest.param(RedisServer, marks=pytest.mark.needs("redis-server"))])
def test_a_server_on_the_network_without_a_password_is_critical(
    valkey_server: StartServer, tmp_path: Path, kind: type[ValkeyServer]
) -> None:
    server = valkey_server("--bind", "127.0.0.1", NOWHERE, "--protected-mode", "no", kind=kind)
    found = finding(at(server.port), "exposure", tmp_path)
    assert found.status is Status.CRIT
    assert "it listens on 10.255.255.1" in found.evidence
    assert "ACL SETUSER default resetpass" in found.fix


def test_protected_mode_alone_is_a_warning(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--bind", "127.0.0.1", NOWHERE, "--protected-mode", "yes")
    found = finding(at(server.port), "exposure", tmp_path)
    assert found.status is Status.WARN
    assert "only protected mode keeps other machines out" in found.evidence


def test_a_password_is_enough(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--bind", "127.0.0.1", NOWHERE, "--protected-mode", "no", "--requirepass", "secret")
    assert finding(at(server.port, redis_password="secret"), "exposure", tmp_path).status is Status.OK


def test_whoever_came_in_from_afar_without_a_password_is_the_proof(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came_from_afar(monkeypatch)
    found = finding(settings, "exposure", tmp_path)
    assert found.status is Status.CRIT
    assert "we came in over 192.0.2.77" in found.evidence


def limited(server: ValkeyServer, *rules: str) -> Settings:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", *rules)
    return at(server.port, redis_username="limited", redis_password="secret")


def test_another_user_without_a_password_is_named(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--bind", "127.0.0.1", NOWHERE, "--protected-mode", "no")
    settings = limited(server)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "legacy", "on", "nopass", "~*", "+get")
        client.execute_command("ACL", "SETUSER", "sleeper", "off", "nopass", "~*", "+@all")
        client.execute_command("ACL", "SETUSER", "idle", "on", "nopass", "~*", "-@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
    found = finding(settings, "exposure", tmp_path)
    assert found.numbers["openUsers"] == ["legacy"]
    assert "ACL SETUSER legacy resetpass" in found.fix


def test_without_acl_list_the_check_needs_it(valkey_server: StartServer, tmp_path: Path) -> None:
    found = finding(limited(valkey_server(), "-acl"), "exposure", tmp_path)
    assert (found.status, found.evidence) == (Status.SKIPPED, "needs +acl|list")


def test_without_acl_list_but_in_without_a_password_it_is_known(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--rename-command", "ACL", "", "--bind", "127.0.0.1", NOWHERE, "--protected-mode", "no")
    assert finding(at(server.port), "exposure", tmp_path).status is Status.CRIT


def test_where_the_addresses_are_unknown_it_is_skipped(valkey_server: StartServer, tmp_path: Path) -> None:
    server = valkey_server("--rename-command", "CONFIG", "")
    found = finding(at(server.port), "exposure", tmp_path)
    assert found.status is Status.SKIPPED
    assert "this server has no CONFIG" in found.evidence


# transport


def test_what_stays_on_this_machine_needs_no_encryption(settings: Settings, tmp_path: Path) -> None:
    assert finding(settings, "transport", tmp_path).status is Status.OK


def test_plain_text_over_a_network_is_told(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came_from_afar(monkeypatch)
    found = finding(settings, "transport", tmp_path, machine=FakeMachine(tmp_path / "machine"))
    assert found.status is Status.WARN
    assert "192.0.2.77" in found.evidence
    assert "REDIS_TLS=true" in found.fix


def test_tls_over_a_network_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came_from_afar(monkeypatch)
    found = finding(at(6379, "192.0.2.77", redis_tls=True), "transport", tmp_path)
    assert found.status is Status.OK


# secrets


def test_files_for_their_owner_alone_are_fine(settings: Settings, store: CheckoutStore, tmp_path: Path) -> None:
    env = tmp_path / ".env.local"
    env.write_text("REDIS_PASSWORD=secret\n")
    env.chmod(0o600)
    assert finding(settings, "secrets", tmp_path).status is Status.OK


@pytest.mark.parametrize("name", [".env.local", ".env"])
def test_an_environment_file_with_a_secret_is_for_its_owner(settings: Settings, tmp_path: Path, name: str) -> None:
    env = tmp_path / name
    env.write_text("REDIS_PASSWORD=very-secret\nDATABASE_URL=postgresql://u:hidden@h/x\n")
    env.chmod(0o640)
    found = finding(settings, "secrets", tmp_path)
    assert found.status is Status.WARN
    assert "REDIS_PASSWORD and DATABASE_URL" in found.evidence
    assert "secret" not in found.evidence.replace("very", "").replace("REDIS_PASSWORD", "")
    assert found.fix == f"chmod 600 {env}"
    env.write_text("REDIS_HOST=localhost\n")  # no secret: others may read it
    assert finding(settings, "secrets", tmp_path).status is Status.OK


def test_a_password_file_is_for_its_owner(valkey: ValkeyServer, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(0o644)
    found = finding(at(valkey.port, redis_password_file=str(file)), "secrets", tmp_path)
    assert (found.status, found.fix) == (Status.WARN, f"chmod 600 {file}")


def test_a_database_of_personal_data_is_for_its_owner(settings: Settings, store: CheckoutStore, tmp_path: Path) -> None:
    database = tmp_path / "checkout.db"
    database.chmod(0o644)
    found = finding(settings, "secrets", tmp_path)
    assert "personal data" in found.evidence
    assert str(database) in found.fix
    assert found.fix.startswith("chmod 600 ")


def test_a_directory_in_which_others_could_replace_the_database(tmp_path: Path, valkey: ValkeyServer) -> None:
    place = tmp_path / "shared place"
    place.mkdir()
    settings = at(valkey.port, database_url=f"sqlite:///{place / 'checkout.db'}")
    place.chmod(0o755)
    assert finding(settings, "secrets", tmp_path).status is Status.OK
    place.chmod(0o775)
    found = finding(settings, "secrets", tmp_path)
    assert found.fix == f"chmod 700 '{place}'"


# shared


def test_a_redis_of_its_own_is_not_shared(settings: Settings, store: CheckoutStore, tmp_path: Path) -> None:
    for number in range(100):
        store.create({"userId": f"user-{number}"})
    found = finding(settings, "shared", tmp_path)
    assert found.status is Status.OK
    assert found.numbers["foreign"] == 0
    assert found.numbers["sampled"] > 100


def test_more_than_one_database_is_told(settings: Settings, valkey: ValkeyServer, tmp_path: Path) -> None:
    with valkey.client() as client, valkey.client(db=3) as other:
        client.set("checkout:session:12345678", "{}")
        other.set("job", "1")
    found = finding(settings, "shared", tmp_path)
    assert found.status is Status.WARN
    assert "db0 has 1 keys, db3 has 1 keys" in found.evidence


@pytest.mark.parametrize(("foreign", "status"), [(10, Status.OK), (90, Status.WARN)])
def test_many_keys_of_others_are_told(
    settings: Settings, valkey: ValkeyServer, tmp_path: Path, foreign: int, status: Status
) -> None:
    with valkey.client() as client:
        for number in range(100):
            client.set(f"{'blog' if number < foreign else 'user:session'}:{number}", "1")
    found = finding(settings, "shared", tmp_path)
    assert found.status is status
    assert found.numbers == {"sampled": 100, "foreign": foreign}


# redirects


@pytest.mark.parametrize(
    "topology", [{"redis_mode": "cluster"}, {"redis_sentinels": "127.0.0.1:1"}], ids=["cluster", "Sentinels"]
)
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"redis_password": "secret"}, Status.WARN),
        ({"redis_password": "secret", "redis_allowed_hosts": "127.0.0.0/8"}, Status.OK),
        ({"redis_password": "secret", "redis_tls": True}, Status.OK),
        ({}, Status.OK),
    ],
    ids=["in clear, anywhere", "to allowed hosts", "with TLS", "without a password"],
)
def test_a_password_that_goes_wherever_a_server_says_is_a_warning(
    tmp_path: Path, topology: dict[str, str], changes: dict[str, object], status: Status
) -> None:
    found = finding(at(1, **topology, **changes), "redirects", tmp_path)
    assert found.status is status


def test_a_single_server_sends_nobody_anywhere(tmp_path: Path) -> None:
    assert finding(at(1, redis_password="secret"), "redirects", tmp_path).status is Status.OK

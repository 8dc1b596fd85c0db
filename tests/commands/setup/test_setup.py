from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from checkout_cli.checks import Finding, Status
from checkout_cli.commands.ping import explain
from checkout_cli.commands.setup.setup import CHECKS, SetupReport, Sources, run
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, ExitCode
from checkout_cli.servers.installation import Installation, Program, system_of
from tests.support.doctoring import FakeMachine
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer

DEBIAN = system_of("Linux", {"ID": "debian", "PRETTY_NAME": "Debian"})
BARE = Installation(DEBIAN, (), root=True, service_manager=True)
INSTALLED = Installation(DEBIAN, (Program("redis-server", "/usr/bin/redis-server", "7.0.15"),), False, True)


@pytest.fixture(autouse=True)
def _no_servers_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_USUAL_PORTS", ())


def machine(directory: Path, installation: Installation) -> FakeMachine:
    made = FakeMachine(directory)
    made.installation = installation
    return made


def sources(directory: Path, settings: Settings | None = None, **environ: str) -> Sources:
    if settings is not None:
        environ = {
            "REDIS_HOST": settings.redis_host,
            "REDIS_PORT": str(settings.redis_port),
            "DATABASE_URL": settings.database_url,
            **environ,
        }
    return Sources(directory, {"timeout": 0.5}, environ)


def set_up(place: Sources, installation: Installation = INSTALLED) -> SetupReport:
    return run(place.plan(), place, machine=machine(place.directory, installation))


def check_of(report: SetupReport, name: str) -> Finding:
    return report.checks[name]


def statuses(report: SetupReport) -> dict[str, str]:
    return {name: str(found.status) for name, found in report.checks.items()}


def test_everything_is_set_up_and_proven(tmp_path: Path, settings: Settings, valkey: ValkeyServer) -> None:
    report = set_up(sources(tmp_path, settings))
    assert set(statuses(report).values()) <= {"ok", "skipped"}
    assert {found.status for name, found in report.checks.items() if name.startswith("probe")} == {Status.OK}
    assert report.exit_code == ExitCode.OK
    assert report.changed == (str(tmp_path / ".env.local"), "database schema")
    with valkey.client() as client:
        assert client.keys() == []


def test_a_second_time_changes_nothing(tmp_path: Path, settings: Settings) -> None:
    place = sources(tmp_path, settings)
    set_up(place)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    report = set_up(place)
    assert report.changed == ()
    assert report.exit_code == ExitCode.OK
    assert before[".env.local"] == (tmp_path / ".env.local").read_bytes()


def test_the_directory_of_the_database_is_created(tmp_path: Path, settings: Settings) -> None:
    place = sources(tmp_path, settings, DATABASE_URL=f"sqlite:///{tmp_path}/far/away/checkout.db")
    assert check_of(set_up(place), "database").status is Status.OK
    assert (tmp_path / "far/away/checkout.db").exists()


def test_looking_changes_nothing(tmp_path: Path, settings: Settings, valkey: ValkeyServer) -> None:
    place = sources(tmp_path, settings)
    before = sorted(tmp_path.rglob("*"))
    report = run(place.plan(), place, looked_only=True, machine=machine(tmp_path, INSTALLED))
    assert sorted(tmp_path.rglob("*")) == before
    assert statuses(report) == {
        "server installed": "ok",
        "client installed": "skipped",
        "env file": "crit",
        "settings": "ok",
        "redis": "ok",
        "database": "crit",
        "probe redis": "skipped",
        "probe database": "skipped",
        "probe memory": "skipped",
    }
    assert check_of(report, "env file").fix == check_of(report, "database").fix == "checkoutctl setup"
    assert report.exit_code == ExitCode.FINDING
    with valkey.client() as client:
        assert client.keys() == []


def test_looking_after_a_set_up_finds_nothing(tmp_path: Path, settings: Settings) -> None:
    place = sources(tmp_path, settings)
    set_up(place)
    assert run(place.plan(), place, looked_only=True, machine=machine(tmp_path, INSTALLED)).exit_code == ExitCode.OK


def test_without_a_redis_the_rest_is_set_up_and_the_fix_installs_one(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_USUAL_PORT", port := free_port())
    report = set_up(sources(tmp_path, settings, REDIS_PORT=str(port)), BARE)
    redis = check_of(report, "redis")
    assert redis.status is Status.CRIT
    assert redis.fix == ("apt-get update && apt-get install -y redis-server && systemctl enable --now redis-server")
    assert check_of(report, "env file").status is Status.OK
    assert check_of(report, "probe redis").status is Status.SKIPPED
    assert check_of(report, "probe database").status is Status.OK
    assert report.exit_code == ExitCode.FINDING
    assert (tmp_path / ".env.local").exists()


def test_a_redis_that_is_installed_has_only_to_be_started(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "_USUAL_PORT", port := free_port())
    report = set_up(sources(tmp_path, settings, REDIS_PORT=str(port)), INSTALLED)
    assert check_of(report, "redis").fix == "sudo systemctl enable --now redis-server"


def test_no_server_on_path_is_no_matter_where_one_answers(tmp_path: Path, settings: Settings) -> None:
    assert check_of(set_up(sources(tmp_path, settings), BARE), "server installed").status is Status.SKIPPED


def test_a_wrong_password_is_named_as_such_and_never_shown(
    tmp_path: Path, settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--requirepass", "hush")
    place = sources(tmp_path, settings, REDIS_PORT=str(server.port), REDIS_PASSWORD="canary")
    report = set_up(place, BARE)
    redis = check_of(report, "redis")
    assert redis.status is Status.CRIT
    assert "denies access" in redis.evidence
    assert "REDIS_PASSWORD" in redis.fix
    assert "apt-get" not in redis.fix
    assert "canary" not in str(report)


def test_a_redis_that_hangs_costs_no_more_than_the_timeout_and_needs_no_installation(
    tmp_path: Path, settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    server.pause()
    try:
        report = set_up(sources(tmp_path, settings, REDIS_PORT=str(server.port)), BARE)
    finally:
        server.resume()
    assert "did not answer within 0.5 s" in check_of(report, "redis").evidence
    assert "apt-get" not in check_of(report, "redis").fix


@contextmanager
def web_server() -> Iterator[int]:
    """Answers everybody as a web server does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_port_where_something_else_listens_is_named(tmp_path: Path, settings: Settings) -> None:
    with web_server() as port:
        report = set_up(sources(tmp_path, settings, REDIS_PORT=str(port)), BARE)
    redis = check_of(report, "redis")
    assert "is not Redis" in redis.evidence
    assert redis.fix == "checkoutctl doctor --only port-in-use"


@pytest.mark.parametrize(
    ("url", "evidence"),
    [
        ("sqlite:///{tmp_path}", "names a directory"),
        ("sqlite:///{tmp_path}/text", "is not an SQLite database"),
        ("sqlite:///{tmp_path}/text/checkout.db", "cannot create the database"),
        ("postgresql://shop:canary@127.0.0.1:1/shop", "Connection refused"),
        ("postgresql://shop:canary@127.0.0.1:x/shop", "is not a database URL"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, settings: Settings, url: str, evidence: str
) -> None:
    (tmp_path / "text").write_text("this is no database, but a text that is long enough to be taken for one" * 20)
    report = set_up(sources(tmp_path, settings, DATABASE_URL=url.format(tmp_path=tmp_path)))
    database = check_of(report, "database")
    assert database.status is Status.CRIT
    assert evidence in database.evidence
    assert "\n" not in database.evidence
    assert database.fix
    assert "canary" not in str(report)
    assert check_of(report, "probe redis").status is Status.OK
    assert check_of(report, "probe database").status is Status.SKIPPED


def test_wrong_settings_are_named_and_keep_servers_from_being_asked(tmp_path: Path) -> None:
    report = set_up(sources(tmp_path, REDIS_PORT="abc"))
    assert "REDIS_PORT" in check_of(report, "settings").evidence
    assert check_of(report, "redis").status is Status.SKIPPED
    assert report.exit_code == ExitCode.FINDING
    assert report.next_step in {"checkoutctl config check", "checkoutctl doctor"}


def test_sessions_switched_off_in_redis_are_not_proven_there(tmp_path: Path, settings: Settings) -> None:
    report = set_up(sources(tmp_path, settings, REDIS_ENABLE_CHECKOUT_SESSIONS="false"))
    assert check_of(report, "probe redis").status is Status.SKIPPED
    assert report.exit_code == ExitCode.OK


def test_an_environment_file_that_cannot_be_written_stops_before_the_database(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / ".env.local").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        set_up(sources(tmp_path, settings))
    assert not (tmp_path / "checkout.db").exists()


def test_postgresql_is_set_up_and_proven(tmp_path: Path, settings: Settings, postgres_url: str) -> None:
    place = sources(tmp_path, settings, DATABASE_URL=postgres_url)
    assert {name: status for name, status in statuses(set_up(place)).items() if status == "crit"} == {}
    assert set_up(place).changed == ()


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_explains_itself(name: str) -> None:
    assert len(CHECKS[name].explanation.splitlines()) > 2


def test_write_behind_on_a_server_that_may_evict_is_refused(
    tmp_path: Path, settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru")
    environ = {"REDIS_PORT": str(server.port), "CHECKOUT_DURABILITY": "redis"}
    refused = check_of(set_up(sources(tmp_path, settings, **environ)), "redis")
    assert (refused.status, refused.fix) == (Status.CRIT, "checkoutctl memory tune --policy noeviction")
    assert "volatile-lru" in refused.evidence
    in_database_mode = set_up(sources(tmp_path, settings, REDIS_PORT=str(server.port)))
    assert check_of(in_database_mode, "redis").status is Status.OK
    with server.client(socket_timeout=5) as client:
        client.config_set("maxmemory-policy", "noeviction")
    assert check_of(set_up(sources(tmp_path, settings, **environ)), "redis").status is Status.OK

"""Situations of an on-call engineer, lived through by typing what ``health`` says, and nothing else."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, SessionNotFound
from checkout_cli.servers.embedded import HOST, valkey_binary
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.divergence import make_conflict
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables
from tests.support.walk import DOCTOR, HEALTH, Person, has_pexpect, typed_of

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")]
SESSIONS = 12
PASSWORD = "the-right-one"


@pytest.fixture(autouse=True)
def _terminal() -> None:
    has_pexpect()


class Shop:
    """A directory with settings, a database with sessions in it, and a Redis that a test starts."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.directory = place / "the shop"  # with a space: what is printed must be quoted
        self.directory.mkdir()
        self.database = place / "checkout.db"
        self.servers: list[ValkeyServer] = []
        self.daemons: list[int] = []

    def start(self, *arguments: str, name: str = "redis") -> ValkeyServer:
        """A server of its own."""
        server = ValkeyServer(self.place / name, *arguments)
        self.servers.append(server)
        server.start()
        return server

    def settings(self, port: int, **more: str) -> Settings:
        """The settings that :meth:`configure` has written, for the test's own store."""
        return Settings(redis_host=HOST, redis_port=port, database_url=f"sqlite:///{self.database}", timeout=5, **more)

    def configure(self, port: int, *lines: str) -> None:
        """Write ``.env.local``."""
        file = self.directory / ".env.local"
        text = [f"REDIS_HOST={HOST}", f"REDIS_PORT={port}", f"DATABASE_URL=sqlite:///{self.database}"]
        text += ["CHECKOUT_TIMEOUT=2", *lines]  # a busy machine is none of the situations
        file.write_text("".join(f"{line}\n" for line in text))
        file.chmod(0o600)

    def fill(self, port: int, number: int = SESSIONS, **more: str) -> None:
        """Make sessions in both tiers."""
        with CheckoutStore.open(self.settings(port, **more)) as store:
            make_tables(store.database)
            for one in range(number):
                store.create({"totalAmount": 10.5 + one}, checkout_id=f"session-{time.time_ns()}-{one:04}")

    def in_redis(self, port: int, **more: str) -> int:
        """How many sessions Redis has."""
        with CheckoutStore.open(self.settings(port, **more)) as store:
            return sum(1 for _ in store.redis.scan("checkout:session:*", 500) for _ in _)

    def close(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.kill()
        for port in self.daemons:
            with suppress(redis.RedisError), redis.Redis(host=HOST, port=port, protocol=2) as client:
                client.shutdown(nosave=True)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def person(shop: Shop, **more: object) -> Iterator[Person]:
    with Person(shop.directory, **more) as somebody:  # type: ignore[arg-type]
        yield somebody


def healthy(somebody: Person) -> bool:
    """Whether health has nothing to say any more."""
    step = somebody.type(HEALTH)
    return step.code == 0 and not step.next


def over(somebody: Person, condition: Callable[[], bool] = lambda: True) -> Callable[[], bool]:
    return lambda: healthy(somebody) and condition()


def _configured(shop: Shop) -> tuple[Path, int]:
    """A server that is started with a configuration, as a machine's own service is."""
    port, home = free_port(), shop.place / "server"
    home.mkdir()
    config = home / "redis.conf"
    config.write_text(f'port {port}\nbind {HOST}\ndir "{home}"\nsave ""\nappendonly yes\n')
    _launch(config, port)
    shop.daemons.append(port)
    return config, port


def _launch(config: Path, port: int) -> None:
    subprocess.run([valkey_binary(), config, "--daemonize", "yes"], check=True, capture_output=True)
    _until(lambda: _answers(port))


def _answers(port: int) -> bool:
    with suppress(redis.RedisError), redis.Redis(host=HOST, port=port, protocol=2) as client:
        return bool(client.ping())
    return False


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came so far")


# Redis is gone


def test_redis_is_gone_and_comes_back_with_its_own_configuration(shop: Shop) -> None:
    config, port = _configured(shop)
    shop.configure(port)
    shop.fill(port)
    with person(shop) as somebody:
        assert healthy(somebody)
        with redis.Redis(host=HOST, port=port, protocol=2) as client:
            client.shutdown()
        _until(lambda: not _answers(port))
        stranger = shop.start(name="stranger")
        somebody.walk(over(somebody))
        assert shop.in_redis(port) == SESSIONS
    words = typed_of(somebody)
    assert any(str(config) in command for command in words), str(somebody)
    assert not any(str(stranger.port) in command for command in words), str(somebody)
    assert any("it answered here at " in step.said for step in somebody.steps), str(somebody)


def test_a_server_with_data_and_without_a_configuration_is_not_replaced_by_an_empty_one(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    with person(shop, by_hand={"find / ": server.start}) as somebody:
        assert healthy(somebody)
        server.kill()
        somebody.walk(over(somebody))
    assert shop.in_redis(server.port) == SESSIONS
    assert not any("daemonize" in command for command in typed_of(somebody)), str(somebody)
    assert any("find its files, and start it with them" in " ".join(step.said.split()) for step in somebody.steps)


def test_redis_is_frozen(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    server.pause()
    with person(shop) as somebody:
        somebody.walk(over(somebody))
    assert f"kill -CONT {server.pid}" in typed_of(somebody)
    assert shop.in_redis(server.port) == SESSIONS


# Who may do what


def test_the_password_is_wrong(shop: Shop) -> None:
    server = shop.start("--requirepass", PASSWORD)
    shop.fill(server.port, redis_password=PASSWORD)
    shop.configure(server.port, "REDIS_PASSWORD=wrong")
    with person(shop, answers={"REDIS_PASSWORD: $": PASSWORD}) as somebody:
        somebody.walk(over(somebody))


def test_a_password_is_set_and_the_server_has_none(shop: Shop) -> None:
    server = shop.start()
    shop.fill(server.port)
    shop.configure(server.port, "REDIS_PASSWORD=needless")
    with person(shop) as somebody:
        somebody.walk(over(somebody))


def test_the_environment_has_another_port_than_the_file(shop: Shop) -> None:
    server = shop.start()
    shop.fill(server.port)
    shop.configure(server.port)
    with person(shop, environment={"REDIS_PORT": str(free_port())}) as somebody:
        somebody.walk(over(somebody))
    assert "unset REDIS_PORT" in typed_of(somebody)


@pytest.mark.parametrize("rule", ["-info", "-@write", "-ping", "-get -getex -evalsha"])
def test_an_acl_denies_what_is_needed(rule: str, shop: Shop) -> None:
    server = shop.start()
    shop.fill(server.port)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", "on", f">{PASSWORD}", "~*", "&*", "+@all", *rule.split())
    shop.configure(server.port, "REDIS_USERNAME=shop", f"REDIS_PASSWORD={PASSWORD}")
    login = {"redis_username": "shop", "redis_password": PASSWORD}
    with CheckoutStore.open(shop.settings(server.port, **login)) as store, suppress(AccessDenied):
        store.create({"totalAmount": 1}, checkout_id="session-meanwhile")
    start = DOCTOR if "-get" in rule or "-@write" in rule else HEALTH  # health looks, and never writes
    with person(shop, answers={"input password: $": ""}) as somebody:
        somebody.walk(lambda: _may_write(shop.settings(server.port, **login)) and healthy(somebody), start=start)
    assert any(" ACL SETUSER shop " in command for command in typed_of(somebody)), str(somebody)


def _may_write(settings: Settings) -> bool:
    """Whether a shop can, which then also publishes what it had to leave in the database."""
    with CheckoutStore.open(settings) as store, suppress(AccessDenied):
        with suppress(SessionNotFound):
            store.get("session-meanwhile")
        store.redis.ask(("SET", "checkout:session:another-one", b"{}", "EX", 60))
        return bool(store.redis.ask(("GET", "checkout:session:another-one")))
    return False


# Redis answers, and is not as it should be


def test_redis_is_loading(shop: Shop) -> None:
    slow = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no")
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    with server.client(socket_timeout=10) as client:
        for number in range(3000):
            client.set(f"filler:{number}", "x" * 1024)
        client.save()
    server.kill()
    server._arguments = (*server._arguments, *slow)
    server._launch(server.port)
    with server.client(socket_timeout=5) as client:
        _until(lambda: _is_loading(client))
    with person(shop) as somebody:
        somebody.walk(over(somebody))
    assert any(command.startswith("sleep ") for command in typed_of(somebody)), str(somebody)


def _is_loading(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.info("persistence")["loading"])
    return False


def _fill_up(server: ValkeyServer, policy: str) -> None:
    with server.client(socket_timeout=5) as client:
        for number in range(400):
            client.set(f"filler:{number}", "x" * 4096, ex=9000)
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 300_000)
        if policy != "noeviction":
            client.set("filler:last", "x", ex=9000)


def test_redis_is_full_and_refuses_writes(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    _fill_up(server, "noeviction")
    with person(shop) as somebody:
        somebody.walk(over(somebody, lambda: _may_write(shop.settings(server.port))))


def test_redis_evicts_sessions(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port, 60)
    _fill_up(server, "volatile-ttl")

    def is_over() -> bool:
        with server.client() as client:
            policy = client.config_get("maxmemory-policy")["maxmemory-policy"]
        return healthy(somebody) and policy == "noeviction" and shop.in_redis(server.port) == 60

    with person(shop) as somebody:
        somebody.walk(is_over, start=DOCTOR)


def test_redis_is_a_replica(shop: Shop) -> None:
    primary = shop.start("--repl-diskless-sync-delay", "0", name="primary")
    shop.fill(primary.port)
    replica = shop.start("--replicaof", f"{HOST} {primary.port}", name="replica")
    with replica.client(socket_timeout=2) as client:
        _until(lambda: client.info("replication")["master_link_status"] == "up")
    shop.configure(replica.port)
    with person(shop) as somebody:
        somebody.walk(over(somebody))
    assert f"REDIS_PORT={primary.port}\n" in (shop.directory / ".env.local").read_text()


@pytest.mark.parametrize("how", ["FLUSHALL", "restart"])
@pytest.mark.parametrize("start", [HEALTH, DOCTOR])
def test_redis_was_emptied(how: str, start: str, shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    if how == "FLUSHALL":
        server.flush()
    else:
        server.kill()
        server.start()
    with person(shop) as somebody:
        first = somebody.type(start)
        assert "Redis was emptied since " in " ".join(first.said.split()), str(first)
        assert first.code == 1
        somebody.walk(over(somebody, lambda: shop.in_redis(server.port) == SESSIONS), start=start)
    assert "checkoutctl migrate run" in typed_of(somebody)


# The database


def test_the_database_is_gone(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    for file in shop.place.glob("checkout.db*"):
        file.unlink()
    with person(shop, answers={r"\[Y/n\] $": "y"}) as somebody:
        somebody.walk(over(somebody))


def test_the_database_is_locked(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    with closing(sqlite3.connect(shop.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with person(shop, by_hand={"ls -l ": holder.rollback}) as somebody:
            somebody.walk(over(somebody))
    assert any("fuser" in command for command in typed_of(somebody)), str(somebody)


# Sessions that wait for somebody


def test_writes_wait_and_nobody_brings_them_over(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    with CheckoutStore.open(shop.settings(server.port)) as store:
        found = next(iter(store.admin.iterate()))
        server.pause()
        store.update(found.checkout_id, {"notes": "while Redis was away"})
    server.resume()
    with CheckoutStore.open(shop.settings(server.port)) as store:
        _until(lambda: bool(store.database.pending(10)))
    _until(lambda: _waits(shop))
    with person(shop) as somebody:
        somebody.walk(over(somebody))
    assert "checkoutctl sync" in typed_of(somebody)


def _waits(shop: Shop) -> bool:
    """The row is as old as a sync wants it to be before it counts as waiting."""
    with closing(sqlite3.connect(shop.database)) as connection:
        (moment,) = connection.execute(
            "SELECT min(updated_at) FROM checkoutctl_sessions WHERE published_version < version"
        ).fetchone()
    return moment is not None and time.time() * 1000 - moment > 2000


def test_no_clean_up_runs(shop: Shop) -> None:
    server = shop.start("--maxmemory", "256mb")
    shop.configure(server.port)
    shop.fill(server.port)
    crontab = shop.place / "crontab"
    (shop.place / "programs").mkdir()
    program = shop.place / "programs" / "crontab"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat "{crontab}" || {{ echo "no crontab for me" >&2; exit 1; }}\n'
        f'else cat > "{crontab}"; fi\n'
    )
    program.chmod(0o755)

    def is_over() -> bool:
        return "cleanup-overdue" not in somebody.type(f"{DOCTOR} --only jobs").next and crontab.exists()

    with person(shop) as somebody:
        somebody.walk(is_over, start=f"{DOCTOR} --only jobs")
    assert "cron" in crontab.read_text()


def test_an_external_writer_left_a_conflict(shop: Shop) -> None:
    server = shop.start()
    shop.configure(server.port)
    shop.fill(server.port)
    with CheckoutStore.open(shop.settings(server.port)) as store, server.client() as client:
        make_conflict(store)
        store.create({"notes": "first"}, checkout_id="session-of-two")
        client.get("checkout:session:session-of-two")
        store.update("session-of-two", {"notes": "ours"})
        client.set("checkout:session:session-of-two", b'{"notes":"theirs"}', ex=900)
    with person(shop) as somebody:
        somebody.type("checkoutctl sync")
        somebody.walk(over(somebody))
    assert any("--resolve" in command for command in typed_of(somebody)), str(somebody)


# Settings that lead nowhere


def test_the_port_is_wrong_and_another_has_the_checkouts(shop: Shop) -> None:
    server = shop.start()
    shop.fill(server.port)
    shop.configure(free_port())
    with person(shop) as somebody:
        somebody.walk(over(somebody))
    assert f"checkoutctl config set REDIS_PORT={server.port}" in typed_of(somebody)


def test_the_host_is_unknown(shop: Shop) -> None:
    server = shop.start()
    shop.fill(server.port)
    shop.configure(server.port, "REDIS_HOST=redis.invalid")

    def corrected() -> None:
        somebody.type(f"checkoutctl config set REDIS_HOST={HOST}")

    with person(shop, by_hand={"getent hosts redis.invalid": corrected}) as somebody:
        somebody.walk(over(somebody))


def test_tls_is_on_and_the_port_is_plain(shop: Shop) -> None:
    server = shop.start()
    shop.fill(server.port)
    shop.configure(server.port, "REDIS_TLS=true")
    with person(shop) as somebody:
        somebody.walk(over(somebody))
    assert "checkoutctl config set REDIS_TLS=false" in typed_of(somebody)


def test_the_port_is_anothers(shop: Shop) -> None:
    server = shop.start()
    shop.fill(server.port)
    with socket.create_server((HOST, 0)) as other:
        thread = threading.Thread(target=_speak_http, args=(other,), daemon=True)
        thread.start()
        shop.configure(other.getsockname()[1])
        with person(shop) as somebody:
            somebody.walk(over(somebody))
    assert f"checkoutctl config set REDIS_PORT={server.port}" in typed_of(somebody)


def _speak_http(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_the_next_step_is_about_the_same_directory_and_server(shop: Shop) -> None:
    server = shop.start("--requirepass", PASSWORD)
    shop.fill(server.port, redis_password=PASSWORD)
    shop.configure(server.port, "REDIS_PASSWORD=wrong")
    elsewhere = shop.place / "elsewhere"
    elsewhere.mkdir()
    with Person(elsewhere, answers={"REDIS_PASSWORD: $": PASSWORD}) as somebody:
        start = f"checkoutctl -C '{shop.directory}' health"
        somebody.walk(lambda: somebody.type(start).code == 0, start=start)
    assert not list(elsewhere.iterdir())

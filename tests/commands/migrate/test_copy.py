"""Moving to another Redis, between real servers: what arrives, what is believed there, and killed anywhere."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checkout_cli.commands.migrate import copy as server_move
from checkout_cli.commands.migrate.checkpoint import CheckpointFile
from checkout_cli.commands.migrate.copy import DIRECTION, move_to, target_settings
from checkout_cli.commands.migrate.run import MigrationReport, migrate
from checkout_cli.commands.migrate.verify import Difference, verify_at
from checkout_cli.config.settings import Settings
from checkout_cli.domain import DeliveryCharges
from checkout_cli.errors import InvalidInput, SessionDeleted
from checkout_cli.jobs import bounded_run
from checkout_cli.keys import INDEX, LEGACY_STATS, session_key, user_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import Kind, encode
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.cluster import Cluster
from tests.support.command import Checkoutctl
from tests.support.divergence import beside_the_database, create_in_redis_alone, update_in_redis_alone, write_externally
from tests.support.killed import Killed, no_lock
from tests.support.servers import REDIS, RedisServer, ValkeyServer
from tests.support.stores import copy_of, make_store, put_raw, raw

FOREIGN = b'{"checkoutId":"foreign-01","totalAmount":3,"paymentStatus":"pending"}'


class Move:
    """A shop on one Redis, and another one that it moves to."""

    def __init__(self, store: CheckoutStore, server: ValkeyServer, directory: Path) -> None:
        self.store = store
        self.server = server
        self.settings = dataclasses.replace(store.settings, redis_port=server.port)
        self.target = RedisAdmin(self.settings)
        self.file = CheckpointFile(directory / "state")

    def run(self, **options: Any) -> MigrationReport:
        return move_to(self.store, self.target, f"{HOST}:{self.server.port}/0", self.file, **options)

    def differences(self, **options: Any) -> dict[str, Difference]:
        return dict(verify_at(self.store, self.target, "there", **options).differences)

    def there(self) -> CheckoutStore:
        """A process of the shop that uses the new server."""
        return make_store(self.settings)


@pytest.fixture(params=["valkey", REDIS])
def move(
    request: pytest.FixtureRequest,
    store: CheckoutStore,
    valkey_server: Callable[..., ValkeyServer],
    tmp_path: Path,
) -> Iterator[Move]:
    made = Move(store, valkey_server(kind=RedisServer if request.param == "redis" else ValkeyServer), tmp_path)
    with closing(made.target):
        yield made


def fill(store: CheckoutStore, number: int) -> list[str]:
    names = [f"session-{at:04}" for at in range(number)]
    for at, name in enumerate(names):
        store.create({"totalAmount": at, "userId": "user-1"}, checkout_id=name)
    return names


def test_everything_but_caches_arrives_with_its_remaining_life_and_in_the_index(move: Move) -> None:
    store = move.store
    names = fill(store, 130)
    store.bookkeeping.flush()
    DeliveryCharges(store).charge(5, 20, lambda *_: {"fee": 1})
    store.redis.ask(("PEXPIRE", session_key(names[3]), 600_000))
    store.redis.ask(("HSET", LEGACY_STATS, "totalCreated", 7))
    report = move.run()
    counts = report.checkpoint.counts
    assert (report.exit_code, report.finished, counts.done, counts.published) == (0, True, 130, 130)
    with move.server.client(socket_timeout=5) as client:
        assert client.zcard(INDEX) == 130
        assert 590_000 < client.pttl(session_key(names[3])) <= 600_000
        assert 1_700_000 < client.pttl(session_key(names[4])) <= 1_800_000
        assert client.get(session_key(names[4])) == raw(store, names[4]), "byte for byte"
        assert client.hget(user_key("user-1"), "checkoutsStarted") == b"130"
        assert client.pttl(user_key("user-1")) > 86_000_000
        assert client.hgetall(LEGACY_STATS) == {b"totalCreated": b"7"}
        assert client.pttl(LEGACY_STATS) == -1
        assert list(client.scan_iter("delivery:*")) == [], "a price change must not be undone"
        assert client.keys("checkout:lock:*") == []
    assert move.differences() == {}
    again = move.run().checkpoint.counts
    assert (again.current, again.published, again.updated, again.others) == (130, 0, 0, 0)


def test_a_copy_is_not_believed_so_what_is_written_after_it_is_not_lost(move: Move) -> None:
    fill(move.store, 2)
    move.run()
    move.store.update("session-0000", {"notes": "after the copy"})
    move.store.delete("session-0001")
    with move.there() as there:
        read = there.get("session-0000")
        assert (read.fields["notes"], read.version, read.verified) == ("after the copy", 2, True)
        with pytest.raises(SessionDeleted):
            there.get("session-0001")
        assert there.get("session-0000").tier is TierName.REDIS, "and from then on it is"
    # The control: with the new server's own stamp, the old copy would have been believed.
    with move.there() as there:
        identity = there.redis.identity("session-0000")
        old = encode(1, identity, b'{"checkoutId":"session-0000","createdAt":"2099-01-01T00:00:00.000Z"}')
        put_raw(there, "session-0000", old)
        assert there.get("session-0000").version == 1


def test_what_is_newer_there_stays_and_what_is_older_is_replaced(move: Move) -> None:
    fill(move.store, 3)
    move.run()
    with move.there() as there:
        there.update("session-0000", {"notes": "there"})
        newer = raw(there, "session-0000")
    move.store.update("session-0001", {"notes": "here"})
    counts = move.run().checkpoint.counts
    assert (counts.current, counts.updated) == (2, 1)
    with move.server.client() as client:
        assert client.get(session_key("session-0000")) == newer
        assert client.get(session_key("session-0001")) == raw(move.store, "session-0001")
    assert move.differences() == {}


def test_a_session_that_was_read_since_gets_its_longer_life(move: Move) -> None:
    fill(move.store, 1)
    move.store.redis.ask(("PEXPIRE", session_key("session-0000"), 60_000))
    move.run()
    move.store.get("session-0000")
    assert move.differences() == {"session-0000": Difference.SHORT}
    move.run()
    assert move.differences() == {}
    assert move.target.remaining(["session-0000"])[0] > 1_700_000


def test_what_only_redis_has_is_brought_to_the_database_and_not_to_two_places(move: Move) -> None:
    create_in_redis_alone(move.store.settings, "alone-0001", notes="only here")
    fill(move.store, 1)
    move.store.notes.write_down()
    update_in_redis_alone(move.store.settings, "session-0000", notes="changed here")
    counts = move.run().checkpoint.counts
    assert (counts.flushed, counts.dirty, counts.ended) == (2, 0, 0)
    with move.there() as there:
        assert there.get("alone-0001").fields["notes"] == "only here"
        assert there.get("session-0000").fields["notes"] == "changed here"
        assert there.flush_log.conflict_count() == 0


def test_while_the_database_cannot_take_it_it_stays_and_is_told(move: Move) -> None:
    create_in_redis_alone(move.store.settings, "alone-0001")
    with beside_the_database(move.store.settings) as waiting:
        stuck = Move(waiting, move.server, move.file.path.parent)
        with closing(stuck.target):
            report = stuck.run()
    assert (report.exit_code, report.checkpoint.counts.dirty) == (1, 1)
    with move.server.client() as client:
        assert client.exists(session_key("alone-0001")) == 0
    copy = copy_of(move.store, "alone-0001")
    assert copy is not None
    assert copy.is_dirty


def test_an_external_write_is_brought_to_the_database_first(move: Move) -> None:
    fill(move.store, 1)
    move.store.notes.write_down()
    write_externally(move.store, "session-0000", paymentStatus="paid")
    counts = move.run().checkpoint.counts
    assert (counts.flushed, counts.published, counts.external) == (1, 1, 0)
    assert move.differences() == {}
    with move.there() as there:
        copy = copy_of(there, "session-0000")
        assert copy is not None
        assert (copy.kind, copy.base, copy.is_dirty) == (Kind.OURS, 2, False)
        assert there.get("session-0000").status == "paid"


def test_an_external_session_is_copied_once_and_a_later_change_is_named(move: Move) -> None:
    put_raw(move.store, "foreign-01", FOREIGN)
    put_raw(move.store, "broken-001", b'{"half')
    report = move.run()
    assert (report.exit_code, report.checkpoint.counts.published, report.checkpoint.counts.external) == (1, 1, 1)
    put_raw(move.store, "foreign-01", FOREIGN.replace(b"3", b"4"))
    assert move.run().checkpoint.counts.external == 2
    assert move.differences() == {"foreign-01": Difference.EXTERNAL, "broken-001": Difference.MISSING}
    with move.server.client() as client:
        assert client.get(session_key("foreign-01")) == FOREIGN


def test_the_same_server_is_refused_also_with_another_of_its_databases(store: CheckoutStore, tmp_path: Path) -> None:
    for database in (0, 1):
        settings = dataclasses.replace(store.settings, redis_host="127.0.0.2", redis_db=database)
        settings = dataclasses.replace(settings, redis_host=HOST)
        with closing(RedisAdmin(settings)) as target, pytest.raises(InvalidInput, match="is the server that"):
            move_to(store, target, f"another-name/{database}", CheckpointFile(tmp_path))


def test_a_shop_that_writes_between_the_look_and_the_copy_is_not_overwritten(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(move.store, 2)
    move.run()
    move.store.update("session-0000", {"notes": "version 2"})
    real = server_move.put_sessions
    written: list[bytes] = []

    def interrupted(target: RedisAdmin, copies: Any) -> list[bool]:
        if copies and not written:
            with move.there() as there:
                there.update("session-0000", {"notes": "version 3, there"})
                written.append(raw(there, "session-0000") or b"")
        return real(target, copies)

    monkeypatch.setattr(server_move, "put_sessions", interrupted)
    report = move.run()
    assert written
    assert report.checkpoint.counts.current == 2
    with move.server.client() as client:
        assert client.get(session_key("session-0000")) == written[0]


def contents(server: ValkeyServer) -> dict[bytes, Any]:
    with server.client(socket_timeout=5) as client:
        sessions = {key: client.get(key) for key in client.scan_iter("checkout:session:*")}
        return sessions | {INDEX.encode(): sorted(client.zrange(INDEX, 0, -1))}


def test_killed_at_20_random_points_it_ends_like_an_uninterrupted_run(
    store: CheckoutStore, valkey_server: Callable[..., ValkeyServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_move, "PAGE", 10)
    monkeypatch.setattr(bounded_run, "job_lock", no_lock)
    fill(store, 250)
    whole = Move(store, valkey_server(), tmp_path / "whole")
    assert whole.run().finished
    killed = Move(store, valkey_server(), tmp_path / "killed")
    points = random.Random(6)
    for _ in range(20):
        victim = Move(store, killed.server, tmp_path / "killed")
        real, countdown = victim.target.exchange, points.randint(2, 9)

        def exchange(*arguments: Any, real: Any = real, **options: Any) -> Any:
            nonlocal countdown
            countdown -= 1
            if countdown == 0 and points.random() < 0.5:
                raise Killed  # before it is sent
            answer = real(*arguments, **options)
            if countdown <= 0:
                raise Killed  # the server has done it, and nobody learns of it
            return answer

        monkeypatch.setattr(victim.target, "exchange", exchange)
        with closing(victim.target), pytest.raises(Killed):
            victim.run()
    assert contents(killed.server) != contents(whole.server)  # the control: the kills left something to do
    report = killed.run()
    assert report.resumed
    assert report.finished
    assert contents(killed.server) == contents(whole.server)
    assert killed.differences() == {}
    for each in (whole, killed):
        each.target.close()


def test_a_full_target_ends_it_and_with_more_room_it_goes_on(
    store: CheckoutStore, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    for name in fill(store, 150):
        store.update(name, {"notes": "x" * 20_000})
    move = Move(store, valkey_server("--maxmemory", "3mb", "--maxmemory-policy", "noeviction"), tmp_path)
    with closing(move.target), move.server.client() as client:
        report = move.run()
        assert (report.exit_code, report.finished) == (69, False)
        assert "maxmemory" in str(report.unreachable)
        client.config_set("maxmemory", "100mb")
        move.target.breaker.succeeded()
        again = move.run()
        assert (again.exit_code, again.finished) == (0, True)
        assert move.differences() == {}


def test_a_restarted_server_is_scanned_from_the_beginning(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_move, "PAGE", 10)
    fill(move.store, 30)
    real, calls = move.target.look, []

    def look(names: Any) -> Any:
        calls.append(names)
        if len(calls) == 3:
            raise Killed
        return real(names)

    monkeypatch.setattr(move.target, "look", look)
    monkeypatch.setattr(bounded_run, "job_lock", no_lock)
    with pytest.raises(Killed):
        move.run()
    move.server.kill()
    move.server.start()
    move.target.breaker.succeeded()
    monkeypatch.setattr(move.target, "look", real)
    report = move.run()
    assert report.from_start_again
    assert report.finished
    assert move.differences() == {}


def test_the_checkpoint_of_a_move_is_not_that_of_a_migration(move: Move) -> None:
    fill(move.store, 1)
    move.run()
    checkpoint = move.file.read()
    assert checkpoint is not None
    assert checkpoint.direction == DIRECTION
    assert migrate(move.store, move.file).finished, "a move that has finished is in nobody's way"
    move.file.write(msgspec.structs.replace(checkpoint, finished=False))
    with pytest.raises(InvalidInput, match="another migration has not finished"):
        migrate(move.store, move.file)


@pytest.mark.parametrize("side", ["from a cluster", "to a cluster"])
def test_to_and_from_a_cluster(side: str, store: CheckoutStore, tmp_path: Path, cluster: Cluster) -> None:
    there = dataclasses.replace(store.settings, redis_port=cluster.primaries[0].port, redis_mode="cluster")
    source = store.settings if side == "to a cluster" else there
    target = there if side == "to a cluster" else store.settings
    with make_store(source) as shop, closing(RedisAdmin(target)) as tier:
        fill(shop, 60)
        report = move_to(shop, tier, "there", CheckpointFile(tmp_path / "state"))
        assert (report.exit_code, report.checkpoint.counts.published) == (0, 60)
        assert verify_at(shop, tier, "there").differences == []
        assert verify_at(shop, tier, "there", sample=10).compared >= 10
        with make_store(target) as moved:
            assert moved.get("session-0007").fields["totalAmount"] == 7


# The command


def test_as_a_command(move: Move, checkoutctl: Checkoutctl) -> None:
    fill(move.store, 12)
    to = ("--to", f"redis://{HOST}:{move.server.port}/0")
    assert checkoutctl("migrate", "verify", *to).returncode == 1
    ran = checkoutctl("migrate", "run", *to)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("12 sessions: 12 published")
    verified = checkoutctl("migrate", "verify", *to, "--json")
    assert (verified.returncode, json.loads(verified.stdout)["compared"]) == (0, 12)
    status = json.loads(checkoutctl("migrate", "status", "--json").stdout)
    assert (status["direction"], status["finished"]) == (DIRECTION, True)


def test_its_password_comes_from_the_environment_and_never_from_the_flag(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    fill(store, 1)
    guarded = valkey_server("--requirepass", "s3same-open")
    url = f"redis://{HOST}:{guarded.port}"
    told = checkoutctl("migrate", "run", "--to", f"redis://:s3same-open@{HOST}:{guarded.port}")
    assert told.returncode == 2
    assert "REDIS_TO_PASSWORD" in told.stderr
    assert "s3same" not in told.stderr + told.stdout
    assert checkoutctl("migrate", "run", "--to", url).returncode == 4
    assert checkoutctl("migrate", "run", "--to", url, env={"REDIS_TO_PASSWORD": "wrong"}).returncode == 4
    assert checkoutctl("migrate", "run", "--to", url, env={"REDIS_PASSWORD": ""}).returncode == 4
    secret = tmp_path / "secret"
    secret.write_text("s3same-open\n")
    secret.chmod(0o600)
    assert checkoutctl("migrate", "run", "--to", url, env={"REDIS_TO_PASSWORD_FILE": str(secret)}).returncode == 0
    assert checkoutctl("migrate", "verify", "--to", url, env={"REDIS_TO_PASSWORD": "s3same-open"}).returncode == 0


def test_a_target_of_the_other_kind_is_told_with_the_option_for_it(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer], cluster: Cluster
) -> None:
    fill(store, 12)
    for server, mode in ((valkey_server(), "cluster"), (cluster.primaries[0], "standalone")):
        for command in ("run", "verify"):
            to = ("--to", f"redis://{HOST}:{server.port}", "--to-mode", mode)
            run = checkoutctl("migrate", command, *to)
            assert run.returncode == 78, run
            assert "--to-mode" in run.stderr.splitlines()[1], run


def test_our_own_password_is_not_told_to_the_other_server(settings: Settings) -> None:
    ours = dataclasses.replace(settings, redis_username="shop", redis_password="ours", redis_tls_server_name="ours")
    found = target_settings("rediss://mover@other.example:7000/2", "standalone", ours)
    assert (found.redis_username, found.password(), found.redis_tls_server_name) == ("mover", None, "")
    assert (found.redis_host, found.redis_port, found.redis_db, found.redis_tls) == ("other.example", 7000, 2, True)
    assert target_settings("redis://other.example", "cluster", ours).redis_username == ""


@pytest.mark.parametrize(
    "url", ["other.example:6379", "http://other.example", "redis://", "redis://h?ssl_cert_reqs=none"]
)
def test_what_is_no_url_of_a_redis_is_a_usage_error(url: str, settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="--to must"):
        target_settings(url, "standalone", settings)


def test_a_target_that_hangs_is_gone_or_only_follows_is_told_in_one_line(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey: ValkeyServer, valkey_server: Callable[..., ValkeyServer]
) -> None:
    fill(store, 1)
    hung, following = valkey_server(), valkey_server("--replicaof", HOST, str(valkey.port))
    hung.pause()
    for url, said in (
        (f"redis://{HOST}:{hung.port}", "did not answer"),
        (f"redis://{HOST}:1", "refused"),
        (f"redis://{HOST}:{following.port}", "replica"),
    ):
        run = checkoutctl("migrate", "run", "--to", url, "--timeout", "0.5")
        assert run.returncode == 69, run
        assert said in run.stderr, run
        assert "Traceback" not in run.stderr

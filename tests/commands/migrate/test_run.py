"""Moving the database's sessions to Redis, on real servers: killed anywhere, beside a writing shop, with PostgreSQL."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from checkout_cli.commands.migrate import run as migration
from checkout_cli.commands.migrate.checkpoint import CheckpointFile
from checkout_cli.commands.migrate.plan import plan
from checkout_cli.commands.migrate.run import State, migrate
from checkout_cli.commands.migrate.verify import Difference, verify
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, InvalidInput, RedisUnavailable
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.jobs.job_lock import job_lock
from checkout_cli.keys import INDEX, claim_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.divergence import StartServer
from tests.support.in_process import run_here
from tests.support.killed import Killed, no_lock
from tests.support.servers import ValkeyServer
from tests.support.stores import copy_of, evict, make_store, put_raw, raw, without_redis

if TYPE_CHECKING:
    from tests.support.command import Checkoutctl

NUMBER = 250


def name_of(number: int) -> str:
    return f"session-{number:04}"


def fill(settings: Settings, number: int = NUMBER) -> None:
    """Sessions that only the database has."""
    with make_store(without_redis(settings)) as writer:
        for at in range(number):
            writer.create({"notes": f"number {at}"}, checkout_id=name_of(at))


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, settings: Settings) -> Iterator[CheckoutStore]:
    """A store on each kind of database."""
    if request.param == "postgresql":
        settings = dataclasses.replace(settings, database_url=request.getfixturevalue("postgres_url"))
    with make_store(settings) as opened:
        opened.database.create_schema()
        yield opened


def bodies(store: CheckoutStore, number: int = NUMBER) -> dict[str, tuple[int, bytes] | None]:
    """What Redis has of each: version and content."""
    found = {}
    for at in range(number):
        copy = copy_of(store, name_of(at))
        found[name_of(at)] = None if copy is None else (copy.version, copy.body)
    return found


def test_all_that_redis_lacks_is_there_with_its_remaining_life_and_in_the_index(
    either: CheckoutStore, tmp_path: Path
) -> None:
    fill(either.settings, 120)
    rows = either.database.read_many([name_of(at) for at in range(120)])
    before = plan(either)
    assert (before.living, before.states[State.MISSING], before.to_do) == (120, 120, 120)
    assert before.needed > before.body_bytes > 0
    report = migrate(either, CheckpointFile(tmp_path))
    assert (report.finished, report.checkpoint.counts.published, report.exit_code) == (True, 120, 0)
    now = either.clock.wall()
    for name, row in rows.items():
        assert abs(now + either.redis.remaining([name])[0] - row.expires_at) < 2_000
        assert copy_of(either, name).body == row.body  # type: ignore[union-attr]
    assert either.redis.ask(("ZCARD", INDEX)) == 120
    assert verify(either).number == 0
    assert plan(either).states[State.CURRENT] == 120
    again = migrate(either, CheckpointFile(tmp_path))
    assert (again.checkpoint.counts.current, again.checkpoint.counts.published) == (120, 0)


def test_killed_at_20_random_points_it_ends_like_an_uninterrupted_run(
    store: CheckoutStore, tmp_path: Path, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "PAGE", 10)
    fill(store.settings)
    assert migrate(store, CheckpointFile(tmp_path / "whole")).finished
    expected = bodies(store)
    assert None not in expected.values()
    valkey.flush()
    points = random.Random(6)
    real = type(store.redis).exchange
    kills = 0
    file = CheckpointFile(tmp_path / "killed")
    for _ in range(20):
        with make_store(store.settings) as victim:
            countdown = points.randint(2, 9)

            def exchange(*arguments: Any, **options: Any) -> Any:
                nonlocal countdown
                countdown -= 1
                if countdown == 0 and points.random() < 0.5:
                    raise Killed  # before it is sent
                answer = real(victim.redis, *arguments, **options)
                if countdown <= 0:
                    raise Killed  # Redis has done it, and nobody learns of it
                return answer

            monkeypatch.setattr(victim.redis, "exchange", exchange)
            monkeypatch.setattr("checkout_cli.jobs.bounded_run.job_lock", no_lock)
            with pytest.raises(Killed):
                migrate(victim, file)
            kills += 1
            monkeypatch.setattr(victim.redis, "exchange", lambda *a, **o: real(victim.redis, *a, **o))
    assert kills == 20
    assert None in bodies(store).values()  # the control: the kills left something to do
    for at in range(NUMBER):  # claims of the killed hold for ten seconds; let them be over
        store.redis.ask(("DEL", claim_key(name_of(at))))
    report = migrate(store, file)
    assert report.resumed
    assert report.finished
    left = verify(store).number  # what the killed had claimed was passed over, and that is said
    assert (report.checkpoint.counts.left, report.exit_code) == (left, 1 if left else 0)
    assert migrate(store, file).exit_code == 0
    assert verify(store).number == 0
    assert bodies(store) == expected
    assert store.redis.ask(("ZCARD", INDEX)) == NUMBER


@pytest.mark.parametrize("when", ["before the claim", "after the claim", "before the publish"])
def test_a_shop_that_writes_meanwhile_loses_nothing(
    when: str, either: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(either.settings, 20)
    with make_store(either.settings) as shop:
        done = []

        def write() -> None:
            if not done:
                done.append(1)
                shop.update(name_of(3), {"notes": "newer"})
                shop.delete(name_of(4))

        owner, method = {
            "before the claim": (either.redis, "claim_all"),
            "after the claim": (either.database, "read_many"),
            "before the publish": (either.publisher, "publish_all"),
        }[when]
        real = getattr(owner, method)

        def first(*arguments: Any) -> Any:
            write()
            return real(*arguments)

        monkeypatch.setattr(owner, method, first)
        report = migrate(either, CheckpointFile(tmp_path))
        assert done
        assert report.finished
        assert shop.get(name_of(3)).fields["notes"] == "newer"
    copy = copy_of(either, name_of(3))
    assert copy is not None
    assert (copy.version, b"newer" in copy.body) == (2, True)
    assert raw(either, name_of(4)) is None
    assert verify(either).number == 0


def test_a_newer_version_in_redis_is_never_overwritten_and_a_bare_set_would_have(
    store: CheckoutStore, tmp_path: Path
) -> None:
    fill(store.settings, 3)
    old = store.database.read(name_of(1))
    assert old is not None
    store.update(name_of(1), {"notes": "newer"})
    store.get(name_of(1))
    newer = raw(store, name_of(1))
    assert migration.state_of(old, store.redis.look([name_of(1)])[0], store.redis.identity(name_of(1))) is State.CURRENT
    assert migration.publish(store, [old], migration.Counts()) == []
    assert raw(store, name_of(1)) == newer
    assert old.body is not None
    put_raw(store, name_of(1), old.body)
    assert raw(store, name_of(1)) != newer  # the control


def test_a_foreign_or_edited_checkpoint_is_refused_and_restart_begins_again(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store.settings, 5)
    file = CheckpointFile(tmp_path)
    migrate(store, file)
    assert file.path.stat().st_mode & 0o777 == 0o600
    text = file.path.read_text()
    file.path.write_text(text.replace('"last":"session-0004"', '"last":"session-9999"'))
    with pytest.raises(InvalidInput, match="edited"):
        migrate(store, file)
    file.path.write_text(text)
    checkpoint = file.read()
    assert checkpoint is not None
    file.write(msgspec.structs.replace(checkpoint, source="another.db", finished=False))
    with pytest.raises(InvalidInput, match="another migration has not finished"):
        migrate(store, file)
    file.write(msgspec.structs.replace(checkpoint, source="another.db"))
    assert migrate(store, file).finished, "one that has finished is in nobody's way"
    file.write(msgspec.structs.replace(checkpoint, source="another.db", finished=False))
    assert migrate(store, file, restart=True).finished


def test_a_restarted_redis_is_filled_from_the_beginning(
    store: CheckoutStore, tmp_path: Path, valkey: ValkeyServer
) -> None:
    fill(store.settings, 5)
    file = CheckpointFile(tmp_path)
    checkpoint = migrate(store, file).checkpoint
    file.write(msgspec.structs.replace(checkpoint, finished=False, server="an earlier run"))
    valkey.flush()
    report = migrate(store, file)
    assert report.from_start_again
    assert report.checkpoint.counts.published == 5


def test_a_tier_that_vanishes_leaves_a_good_checkpoint_and_69(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "PAGE", 10)
    fill(store.settings, 30)
    real, calls = store.redis.look, []

    def look(names: Any) -> Any:
        calls.append(names)
        if len(calls) == 2:
            raise RedisUnavailable("gone")
        return real(names)

    monkeypatch.setattr(store.redis, "look", look)
    report = migrate(store, CheckpointFile(tmp_path))
    assert (report.exit_code, report.checkpoint.counts.done, report.finished) == (69, 10, False)
    again = migrate(store, CheckpointFile(tmp_path))
    assert (again.resumed, again.finished, again.checkpoint.counts.published) == (True, True, 30)


def test_verify_tells_each_kind_of_difference(store: CheckoutStore, tmp_path: Path) -> None:
    fill(store.settings, 6)
    migrate(store, CheckpointFile(tmp_path))
    evict(store, name_of(0))
    store.redis.ask(("PERSIST", f"checkout:session:{name_of(1)}"))
    store.redis.ask(("PEXPIRE", f"checkout:session:{name_of(2)}", 60_000))
    put_raw(store, name_of(3), b'{"notes":"theirs"}')
    found = verify(store)
    assert dict(found.differences) == {
        name_of(0): Difference.MISSING,
        name_of(1): Difference.ENDLESS,
        name_of(2): Difference.SHORT,
        name_of(3): Difference.EXTERNAL,
    }
    assert (found.compared, found.number) == (6, 4)


def test_the_rate_is_kept(store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "PAGE", 10)
    fill(store.settings, 30)
    pauses: list[float] = []
    store.clock = dataclasses.replace(store.clock, pause=pauses.append)
    migrate(store, CheckpointFile(tmp_path), BoundedRun(store.clock, rate=1))
    assert len(pauses) == 3
    assert pauses[0] > 9


def test_redis_that_is_switched_off_is_a_matter_of_configuration(store: CheckoutStore, tmp_path: Path) -> None:
    with make_store(dataclasses.replace(store.settings, enable_checkout_sessions=False)) as off:
        for command in (plan, verify):
            with pytest.raises(ConfigurationError):
                command(off)


def test_as_commands_plan_run_verify_and_status(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    assert "no migration has been run" in checkoutctl("migrate", "status").stderr
    fill(store.settings, 12)
    planned = checkoutctl("migrate", "plan", "--json")
    assert (planned.returncode, json.loads(planned.stdout)["toDo"]) == (0, 12)
    assert checkoutctl("migrate", "verify").returncode == 1
    ran = checkoutctl("migrate", "run")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("12 sessions: 12 published")
    assert json.loads(checkoutctl("migrate", "verify", "--json").stdout)["different"] == 0
    assert json.loads(checkoutctl("migrate", "status", "--json").stdout)["finished"] is True
    away = checkoutctl("migrate", "run", env={"REDIS_PORT": "1"})
    assert away.returncode == 69
    with job_lock(store, migration.JOB, "somebody"):
        assert checkoutctl("migrate", "run").returncode == 75


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_real_signal_leaves_a_checkpoint_from_which_it_goes_on(
    sent: signal.Signals, store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    fill(store.settings)
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    file = CheckpointFile(tmp_path / "state" / "checkoutctl")
    process = checkoutctl.start("migrate", "run", "--rate", "60", env=environment)
    _wait_for_progress(file, process)
    process.send_signal(sent)
    process.communicate(timeout=10)
    assert process.returncode == (-9 if sent == signal.SIGKILL else 130)
    checkpoint = file.read()
    assert checkpoint is not None
    assert 0 < checkpoint.counts.done < NUMBER
    if sent == signal.SIGKILL:
        store.redis.ask(("DEL", "checkout:lock:migrate"))  # it would hold for half a minute
    ran = checkoutctl("migrate", "run", env=environment)
    assert (ran.returncode, ran.stderr) == (0, "gone on from the checkpoint\n")
    assert verify(store).number == 0


def _wait_for_progress(file: CheckpointFile, process: Any) -> None:
    from tests.support.stores import wait_until

    def has_begun() -> bool:
        assert process.poll() is None
        checkpoint = file.read()
        return checkpoint is not None and checkpoint.counts.done > 0

    wait_until(has_begun, 10)


def test_a_plan_that_does_not_fit_warns_and_exits_1(
    settings: Settings, tmp_path: Path, valkey_server: StartServer
) -> None:
    server = valkey_server("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
    full = dataclasses.replace(settings, redis_port=server.port)
    with make_store(full) as store:
        store.database.create_schema()
        fill(full, 10)
        assert plan(store).fits
        with make_store(without_redis(full)) as writer:
            for at in range(20):
                writer.create({"notes": "x" * 200_000}, checkout_id=f"large-{at:04}")
        assert plan(store).fits is False
    environment = {"REDIS_PORT": str(server.port), "REDIS_HOST": HOST, "DATABASE_URL": full.database_url}
    planned = run_here(["migrate", "plan"], environment, tmp_path)
    assert planned.code == 1
    assert "it will not fit" in planned.err


def test_in_a_cluster_each_server_gets_its_slots(settings: Settings, tmp_path: Path) -> None:
    with make_store(settings) as opened:
        opened.database.create_schema()
    fill(settings, 60)
    with Cluster(tmp_path / "cluster") as cluster:
        nodes = ",".join(f"{HOST}:{server.port}" for server in cluster.primaries[1:])
        port = cluster.primaries[0].port
        there = dataclasses.replace(settings, redis_mode="cluster", redis_port=port, redis_cluster_nodes=nodes)
        with make_store(there) as store:
            file = CheckpointFile(tmp_path / "state")
            assert plan(store).states[State.MISSING] == 60
            report = migrate(store, file)
            assert (report.exit_code, report.checkpoint.counts.published) == (0, 60)
            assert verify(store).number == 0
            cluster.owner(f"checkout:session:{name_of(0)}").kill()
            with pytest.raises(RedisUnavailable):
                migrate(store, file)


def test_a_key_that_somebody_else_is_filling_is_left_and_said(store: CheckoutStore, tmp_path: Path) -> None:
    fill(store.settings, 3)
    store.redis.claim(name_of(1))  # as a process that was ended between its claim and its publish
    report = migrate(store, CheckpointFile(tmp_path))
    assert (report.checkpoint.counts.published, report.checkpoint.counts.left, report.exit_code) == (2, 1, 1)
    store.redis.ask(("DEL", claim_key(name_of(1))))  # ten seconds later
    assert migrate(store, CheckpointFile(tmp_path)).exit_code == 0
    assert verify(store).number == 0


def test_each_of_them_stops_when_its_time_is_up_and_goes_on(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "PAGE", 10)
    monkeypatch.setattr("checkout_cli.commands.migrate.plan.PAGE", 10)
    monkeypatch.setattr("checkout_cli.commands.migrate.verify.PAGE", 10)
    fill(store.settings, 30)

    def short() -> BoundedRun:
        ticks = iter(range(1000))
        return BoundedRun(dataclasses.replace(store.clock, elapsed=lambda: float(next(ticks))), max_seconds=1.5)

    first = plan(store, short())
    assert (first.living, first.finished) == (20, False)
    rest = plan(store, cursor=first.cursor or "")
    assert (rest.living, rest.finished, rest.cursor) == (10, True, None)
    part = migrate(store, CheckpointFile(tmp_path), short())
    assert (part.checkpoint.counts.done, part.finished, part.exit_code) == (20, False, 1)
    whole = migrate(store, CheckpointFile(tmp_path))
    assert (whole.resumed, whole.checkpoint.counts.done, whole.finished, whole.exit_code) == (True, 30, True, 0)
    compared = verify(store, short())
    assert (compared.compared, compared.finished) == (20, False)
    assert verify(store, cursor=compared.cursor or "").compared == 10

"""A benchmark on real servers: what it measures, and that nothing of it stays behind."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from checkout_cli.commands.bench import run
from checkout_cli.commands.bench.shopper import SLICES
from checkout_cli.commands.bench.stage import LIFE, PREFIX, own, remove_all
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, DatabaseUnavailable, ExitCode, InvalidInput, Locked, RedisUnavailable
from checkout_cli.jobs.job_lock import job_lock
from checkout_cli.keys import INDEX, session_key
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import number_starting_with
from tests.support.servers import ValkeyServer
from tests.support.stores import ID, make_tables, without_database, without_redis

SECONDS = 2.5


def measured(settings: Settings, seconds: float = SECONDS, **options: object) -> run.BenchReport:
    return run.bench(settings, run.examine(settings), seconds=seconds, shoppers=4, seed=7, **options)  # type: ignore[arg-type]


def left_in(store: CheckoutStore, server: ValkeyServer) -> tuple[int, list[str]]:
    """What a benchmark has left: rows, and keys and members of the index."""
    with server.client(socket_timeout=5) as client:
        names = [key.decode() for key in client.scan_iter(f"*{PREFIX}*")]
        names += [name.decode() for name in client.zrange(INDEX, 0, -1) if name.startswith(PREFIX.encode())]
        names += [key.decode() for key in client.scan_iter("checkout:lock:*")]
    return number_starting_with(store.database, PREFIX), names


def standing_in(server: ValkeyServer) -> tuple[list[bytes], list[tuple[bytes, float]]]:
    """All keys, and the index."""
    with server.client() as client:
        return sorted(client.scan_iter()), client.zrange(INDEX, 0, -1, withscores=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, settings: Settings) -> Iterator[CheckoutStore]:
    """A shop with one checkout of its own."""
    if request.param == "postgresql":
        settings = replace(settings, database_url=request.getfixturevalue("postgres_url"))
    with CheckoutStore.open(settings) as store:
        make_tables(store.database)
        store.create({"totalAmount": 5}, checkout_id=ID)
        yield store


@pytest.mark.timeout(120)
def test_it_measures_both_ways_loses_nothing_and_leaves_nothing(shop: CheckoutStore, valkey: ValkeyServer) -> None:
    before = standing_in(valkey)
    totals = shop.database.totals()
    report = measured(shop.settings, 3 * SECONDS)  # a busy machine does little before and after the outage

    assert report.exit_code is ExitCode.OK
    for compared in (report.retrieval, report.updates):
        assert compared is not None
        assert compared.redis is not None
        assert min(compared.database.calls, compared.redis.calls) >= 20
        assert 0 < compared.redis.p50 <= compared.redis.p99 <= compared.redis.longest
    without, with_redis = report.without, report.with_redis
    assert without is not None
    assert with_redis is not None
    assert without.served[TierName.REDIS] == 0
    assert with_redis.served[TierName.REDIS] > 0.8 * with_redis.steps
    assert without.failed == with_redis.failed == 0
    assert with_redis.queries_per_step < without.queries_per_step, "reads did not come from Redis"
    outage = report.outage
    assert outage is not None
    assert outage.checked > 0
    assert outage.lost == []
    middle = outage.parts[SLICES // 2]
    assert middle[0] == 0, "Redis was not away"
    assert middle[1] > 0, "the database did not serve"
    assert sum(part[0] for part in outage.parts) > 0, "Redis did not serve before or after"
    assert [claim.id for claim in report.claims] == ["retrieval", "users", "load", "uptime"]
    assert all(claim.measured is not None for claim in report.claims)

    assert report.removed > 200
    assert left_in(shop, valkey) == (0, [])
    assert standing_in(valkey) == before, "the index, statistics and users are as they were"
    assert shop.database.totals() == totals
    assert shop.get(ID).fields["totalAmount"] == 5


def test_what_a_killed_run_has_left_is_removed_by_the_next_and_ends_by_itself(
    store: CheckoutStore, settings: Settings, valkey: ValkeyServer
) -> None:
    with CheckoutStore.open(own(settings)) as killed:
        for number in range(3):
            killed.create({}, checkout_id=f"{PREFIX}0badf00d-{number}")
    with valkey.client() as client:
        assert client.ttl(session_key(f"{PREFIX}0badf00d-1")) <= LIFE
    assert run.examine(settings).leftovers == 3
    assert run.examine(settings).sessions == 0, "they are no live checkouts"
    with CheckoutStore.open(own(settings)) as cleared:
        assert remove_all(cleared) == 3
    assert left_in(store, valkey) == (0, [])


def test_without_redis_only_the_database_is_measured(store: CheckoutStore, settings: Settings) -> None:
    report = measured(without_redis(settings))
    assert report.exit_code is ExitCode.FINDING
    assert report.target.redis is None
    assert report.without is not None
    assert report.without.steps > 0
    assert report.with_redis is report.outage is None
    assert [claim.holds for claim in report.claims] == [None] * 4
    assert number_starting_with(store.database, PREFIX) == 0


def test_without_redis_the_rows_of_others_are_left_for_a_run_that_can_remove_their_copies(
    store: CheckoutStore, settings: Settings
) -> None:
    store.create({}, checkout_id=f"{PREFIX}0badf00d-1")
    measured(without_redis(settings))
    assert number_starting_with(store.database, PREFIX) == 1


def test_without_the_database_there_is_nothing_to_measure(settings: Settings) -> None:
    with pytest.raises(DatabaseUnavailable):
        run.examine(without_database(settings))


def test_a_redis_at_its_limit_is_left_alone(
    store: CheckoutStore, settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    full = valkey_server("--maxmemory", "20mb")
    with pytest.raises(InvalidInput, match="bytes left under its limit"):
        run.examine(replace(settings, redis_port=full.port))
    roomy = valkey_server("--maxmemory", "2gb")
    assert run.examine(replace(settings, redis_port=roomy.port)).is_full is False


def test_only_one_at_a_time(store: CheckoutStore, settings: Settings) -> None:
    target = run.examine(settings)
    with job_lock(store, run.JOB, "somebody:1:abc"), pytest.raises(Locked, match="somebody"):
        run.bench(settings, target, seconds=SECONDS, shoppers=2)


@pytest.mark.parametrize(
    ("changes", "sessions", "is_production"),
    [
        ({}, 0, False),
        ({}, 1, True),
        ({"redis_host": "redis.shop.example"}, 0, True),
        ({"redis_sentinels": "redis.shop.example:26379"}, 0, True),
    ],
)
def test_another_machine_or_live_checkouts_are_a_shops(
    store: CheckoutStore,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    sessions: int,
    is_production: bool,
) -> None:
    for number in range(sessions):
        store.create({}, checkout_id=f"{ID}{number}")
    monkeypatch.setattr("checkout_cli.store.redis.admin.RedisAdmin.ping", lambda _: _away())
    assert run.examine(replace(settings, **changes)).is_production is is_production  # type: ignore[arg-type]


def _away() -> float:
    raise RedisUnavailable("for this test")


def test_a_database_on_another_machine_is_a_shops(settings: Settings) -> None:
    def is_local(url: str) -> bool:
        with CheckoutStore.open(replace(settings, database_url=url)) as store:
            return store.database.is_local

    assert is_local("postgresql://shop@localhost/checkout")
    assert is_local("postgresql:///checkout?host=/var/run/postgresql")
    assert is_local("postgresql://shop@127.0.0.1:6432/checkout")
    assert not is_local("postgresql://shop@db.shop.example/checkout")
    assert not is_local("postgresql:///checkout?host=db.shop.example")


def test_a_session_that_is_not_as_it_was_acknowledged_counts_as_lost(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    store.update(ID, {"step": 1})
    assert run._kept(store, ID, 2)
    assert not run._kept(store, ID, 3)
    assert not run._kept(store, "never-there", 1)


def test_a_failure_half_way_leaves_nothing_and_is_not_hidden(
    store: CheckoutStore, settings: Settings, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise CheckoutError("half-way")

    monkeypatch.setattr(run, "compare", broken)
    with pytest.raises(CheckoutError, match="half-way"):
        measured(settings)
    assert left_in(store, valkey) == (0, [])


@pytest.fixture
def gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    removals = iter([0])

    def away(*_: object) -> int:
        for removed in removals:
            return removed
        raise RedisUnavailable("gone at the end")

    monkeypatch.setattr(run, "remove_all", away)


@pytest.mark.usefixtures("gone_at_the_end")
def test_what_cannot_be_removed_is_said(store: CheckoutStore, settings: Settings) -> None:
    report = measured(settings)
    assert str(report.not_removed) == "gone at the end"
    assert report.exit_code is ExitCode.FINDING


@pytest.mark.usefixtures("gone_at_the_end")
def test_what_cannot_be_removed_is_said_of_an_interrupted_run_too(
    store: CheckoutStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "compare", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(run.SessionsLeft, match=r"interrupted; not all .* gone at the end") as left:
        measured(settings)
    assert left.value.exit_code is ExitCode.INTERRUPTED

"""The figures of the last minutes: from Redis in one round trip, or what the database knows; never invented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.domain.statistics import CacheCounts, Source, Statistics, StatisticsReport, whole_minutes
from checkout_cli.errors import AccessDenied, DatabaseUnavailable, InvalidInput, RedisUnavailable, TierUnavailable
from checkout_cli.keys import minute_key, session_key
from checkout_cli.session import PaymentStatus
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Totals
from checkout_cli.store.redis import questions
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, make_store, make_tables, without_database, without_redis

MINUTE = 60_000


@pytest.fixture
def clock() -> ManualClock:
    """The beginning of the 30,000,000th minute since the epoch."""
    return ManualClock(30_000_000 * MINUTE)


@pytest.fixture
def store(settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
    with make_store(settings, clock) as made:
        make_tables(made.database)
        yield made


def count(store: CheckoutStore, minutes_ago: int, **figures: Any) -> None:
    """What programs counted; ``create__3`` stands for ``create:3``."""
    key = minute_key(store.clock.wall() // MINUTE - minutes_ago)
    pairs = [str(part) for name, value in figures.items() for part in (name.replace("__", ":"), value)]
    store.redis.ask(("HSET", key, *pairs))


def read(store: CheckoutStore, minutes: int = 5) -> StatisticsReport:
    return Statistics(store).read(minutes, store.clock.wall())


def totals(report: StatisticsReport) -> list[int | None]:
    return [report.total(name) for name in ("created", "completed", "failed", "cancelled", "updated")]


class TestRedis:
    def test_what_the_store_counted_is_read(self, store: CheckoutStore) -> None:
        paid, failed, _ = (store.create({}).session.checkout_id for _ in range(3))
        store.set_payment_status(paid, PaymentStatus.PAID)
        store.set_payment_status(failed, PaymentStatus.FAILED)
        store.bookkeeping.flush()
        report = read(store)
        assert (report.source, report.why, report.unreadable) == (Source.REDIS, None, 0)
        assert totals(report) == [3, 1, 1, 0, 2]
        assert report.conversion == pytest.approx(1 / 3)
        assert report.create_times is not None
        assert report.update_times is not None
        assert (report.create_times.count, report.update_times.count) == (3, 2)

    def test_every_minute_is_there_oldest_first_also_the_empty_ones(self, store: CheckoutStore) -> None:
        count(store, 0, created=1)
        count(store, 3, created=4, completed=2)
        report = read(store, 4)
        assert [minute.created for minute in report.minutes] == [4, 0, 0, 1]
        assert [minute.completed for minute in report.minutes] == [2, 0, 0, 0]
        assert {b.start - a.start for a, b in zip(report.minutes, report.minutes[1:], strict=False)} == {MINUTE}
        assert report.minutes[-1].start == store.clock.wall()

    def test_what_lies_before_the_window_is_left_out(self, store: CheckoutStore) -> None:
        count(store, 0, created=1)
        count(store, 1, created=10)
        count(store, 2, created=100)
        assert read(store, 2).total("created") == 11

    def test_times_of_all_minutes_are_one_histogram(self, store: CheckoutStore) -> None:
        count(store, 0, create__40=97, update__4=1)  # 2 ** (40 / 4) µs
        count(store, 1, create__40=1, create__80=2)
        report = read(store)
        assert report.create_times is not None
        assert report.create_times.count == 100
        assert report.create_times.p50 == report.create_times.p95 == pytest.approx(0.001024)
        assert report.create_times.p99 == pytest.approx(1.048576)
        assert report.update_times is not None
        assert report.update_times.count == 1

    def test_without_calls_there_are_no_times_and_without_creations_no_conversion(self, store: CheckoutStore) -> None:
        count(store, 0, completed=3)
        report = read(store)
        assert report.conversion is None
        assert report.create_times is not None
        assert (report.create_times.count, report.create_times.p50) == (0, None)

    def test_the_caches_are_added_up(self, store: CheckoutStore) -> None:
        count(store, 0, delivery__hit=6, delivery__miss=2, delivery__stale=1, coupon__error=1)
        count(store, 1, delivery__hit=2, delivery__error=1)
        expected = {"delivery": CacheCounts(8, 2, 1, 1), "coupon": CacheCounts(error=1)}
        assert read(store).caches == Statistics(store).caches(5, store.clock.wall()) == expected
        assert expected["delivery"].rate("hit") == pytest.approx(8 / 12)
        assert CacheCounts().rate("hit") is None

    def test_an_hour_is_sixty_small_keys_in_three_round_trips(
        self, store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for minutes_ago in range(60):
            count(store, minutes_ago, created=1)
        exchanges: list[tuple[Any, ...]] = []
        real = store.redis.exchange

        def noted(*commands: Any, **options: Any) -> Any:
            exchanges.append(commands)
            return real(*commands, **options)

        monkeypatch.setattr(store.redis, "exchange", noted)
        assert read(store, 60).source is Source.REDIS
        assert [each[0][0] for each in exchanges] == ["HLEN", "MEMORY", "HGETALL"]
        assert [len(each) for each in exchanges] == [2 * 60] * 3, "the minutes, and their tiers"

    def test_the_server_itself_sees_nothing_else(self, settings: Settings, valkey: ValkeyServer) -> None:
        with make_store(settings) as store, valkey.client() as client:
            store.redis.ping()  # connects
            client.config_resetstat()
            read(store, 60)
            seen = client.info("commandstats")
        assert seen["cmdstat_hlen"]["calls"] == 2 * 60  # and none of them is there
        assert set(seen) <= {"cmdstat_hlen", "cmdstat_config|resetstat", "cmdstat_info"}

    @pytest.mark.parametrize("minutes", [0, 61, -1])
    def test_more_than_is_kept_is_refused(self, store: CheckoutStore, minutes: int) -> None:
        with pytest.raises(InvalidInput):
            read(store, minutes)


class TestForeignData:
    def test_a_hash_of_any_size_is_unknown_and_never_fetched(self, store: CheckoutStore, valkey: ValkeyServer) -> None:
        many, large = (minute_key(store.clock.wall() // MINUTE - back) for back in (1, 2))
        for start in range(0, 600_000, 10_000):
            store.redis.ask(("HSET", many, *(part for n in range(start, start + 10_000) for part in (f"f{n}", "1"))))
        store.redis.ask(("HSET", large, "created", b"1" * 70_000_000))
        count(store, 0, created=2)
        with valkey.client() as client:
            before = client.info("stats")["total_net_output_bytes"]
            report = read(store, 3)
            sent = client.info("stats")["total_net_output_bytes"] - before
        assert (report.source, [minute.created for minute in report.minutes]) == (Source.REDIS, [None, None, 2])
        assert sent < 20_000

    def test_without_its_bound_a_large_hash_would_cost_all_minutes(
        self, store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.redis.ask(("HSET", minute_key(store.clock.wall() // MINUTE - 1), "created", b"1" * 70_000_000))
        monkeypatch.setattr(questions, "LARGEST_HASH", 10**9)
        with pytest.raises(RedisUnavailable):
            store.redis.hashes([minute_key(store.clock.wall() // MINUTE - 1)])

    def test_a_minute_that_is_no_hash_is_unknown_and_the_others_are_read(self, store: CheckoutStore) -> None:
        store.redis.ask(("SET", minute_key(store.clock.wall() // MINUTE - 1), "not a hash"))
        count(store, 0, created=2)
        report = read(store, 3)
        assert [minute.created for minute in report.minutes] == [0, None, 2]
        assert (report.total("created"), report.unreadable) == (2, 1)

    @pytest.mark.parametrize("value", ["", "abc", "-1", "1.5", "٣", "9" * 5000, "\x1b[2J"])
    def test_a_field_that_is_no_number_is_unknown_and_counted_as_unreadable(
        self, store: CheckoutStore, value: str
    ) -> None:
        count(store, 0, created=value, completed=3, create__7=value)
        report = read(store, 1)
        assert (report.total("created"), report.total("completed"), report.unreadable) == (None, 3, 2)
        assert report.conversion is None
        assert report.create_times is not None
        assert report.create_times.count == 0

    def test_fields_of_other_names_change_nothing(self, store: CheckoutStore) -> None:
        count(store, 0, created=1, refunded=7, create__999=1, create__x=1, delivery__warm=1, pickup__hit=1, x__y__z=1)
        report = read(store, 1)
        assert (totals(report), report.unreadable) == ([1, 0, 0, 0, 0], 0)
        assert report.create_times is not None
        assert report.create_times.count == 0

    def test_a_denied_command_is_said_and_not_hidden(
        self, settings: Settings, valkey_server: Callable[..., ValkeyServer]
    ) -> None:
        server = valkey_server()
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "-hlen")
        with make_store(replace(settings, redis_port=server.port)) as store, pytest.raises(AccessDenied):
            read(store)


class TestDatabase:
    @pytest.fixture
    def away(self, settings: Settings, store: CheckoutStore, clock: ManualClock) -> Iterator[CheckoutStore]:
        """The same database, with a Redis that is gone."""
        with make_store(without_redis(settings), clock) as made:
            yield made

    def test_without_redis_it_says_what_rows_tell_and_that_the_rest_is_unknown(
        self, store: CheckoutStore, away: CheckoutStore, clock: ManualClock
    ) -> None:
        old, paid = (store.create({}).session.checkout_id for _ in range(2))
        clock.advance(120)
        store.set_payment_status(paid, PaymentStatus.PAID)
        store.set_payment_status(old, PaymentStatus.FAILED)
        store.set_payment_status(store.create({}).session.checkout_id, PaymentStatus.CANCELLED)
        report = read(away, 4)
        assert report.source is Source.DATABASE
        assert report.why is not None
        assert "cannot be reached" in report.why
        assert [minute.created for minute in report.minutes] == [0, 2, 0, 1]
        assert [minute.completed for minute in report.minutes] == [0, 0, 0, 1]
        assert totals(report) == [3, 1, 1, 1, None]
        assert (report.create_times, report.update_times, report.caches) == (None, None, None)

    def test_what_was_created_and_deleted_counts_as_created_only(
        self, store: CheckoutStore, away: CheckoutStore
    ) -> None:
        paid = store.create({}).session.checkout_id
        store.set_payment_status(paid, PaymentStatus.PAID)
        store.delete(paid)
        assert totals(read(away)) == [1, 0, 0, 0, None]

    def test_the_tombstone_of_another_programs_session_was_never_created(
        self, store: CheckoutStore, away: CheckoutStore
    ) -> None:
        store.redis.ask(("SET", session_key("foreign-0001"), '{"checkoutId":"foreign-0001"}', "EX", 60))
        store.delete("foreign-0001")
        assert totals(read(away)) == [0, 0, 0, 0, None]
        assert Statistics(away).by_status(5, away.clock.wall()) == {}

    def test_what_happened_before_the_window_is_left_out(
        self, store: CheckoutStore, away: CheckoutStore, clock: ManualClock
    ) -> None:
        store.set_payment_status(store.create({}).session.checkout_id, PaymentStatus.PAID)
        clock.advance(300)
        assert totals(read(away, 5)) == [0, 0, 0, 0, None]
        assert totals(read(away, 6)) == [1, 1, 0, 0, None]

    def test_with_statistics_switched_off_redis_is_not_asked(self, settings: Settings, store: CheckoutStore) -> None:
        store.create({})
        with make_store(replace(settings, enable_statistics=False)) as off:
            report = Statistics(off).read(5, store.clock.wall())
        assert report.source is Source.DATABASE
        assert report.why == "REDIS_ENABLE_STATISTICS is false"
        assert report.total("created") == 1

    def test_where_sessions_are_not_kept_in_redis_the_database_is_asked(
        self, settings: Settings, store: CheckoutStore
    ) -> None:
        with make_store(replace(settings, enable_checkout_sessions=False)) as off:
            assert Statistics(off).read(5, store.clock.wall()).source is Source.DATABASE

    def test_with_both_away_the_error_names_both(self, settings: Settings) -> None:
        with (
            make_store(without_database(without_redis(settings))) as store,
            pytest.raises(TierUnavailable, match=r"Redis at .* cannot be reached.*database"),
        ):
            read(store)

    def test_statuses_are_of_the_sessions_created_in_the_window(self, store: CheckoutStore, clock: ManualClock) -> None:
        earlier = store.create({}).session.checkout_id
        clock.advance(600)
        paid, deleted, _ = (store.create({}).session.checkout_id for _ in range(3))
        for checkout_id in (earlier, paid):
            store.set_payment_status(checkout_id, PaymentStatus.PAID)
        store.delete(deleted)
        statuses = Statistics(store).by_status(5, clock.milliseconds)
        assert statuses == {"paid": 1, "pending": 1, "deleted": 1}

    def test_postgresql_says_the_same_as_sqlite(
        self, settings: Settings, clock: ManualClock, postgres_url: str
    ) -> None:
        with make_store(replace(without_redis(settings), database_url=postgres_url), clock) as store:
            make_tables(store.database)
            store.set_payment_status(store.create({}).session.checkout_id, PaymentStatus.PAID)
            clock.advance(60)
            store.create({})
            report = read(store, 3)
            assert [minute.created for minute in report.minutes] == [0, 1, 1]
            assert totals(report) == [2, 1, 0, 0, None]
            assert Statistics(store).by_status(3, clock.milliseconds) == {"paid": 1, "pending": 1}

    def test_only_rows_that_expire_after_the_window_began_are_looked_at(self, store: CheckoutStore) -> None:
        from sqlalchemy import text

        from checkout_cli.store.database import counts as database_counts

        for statement in (database_counts._created(0, 1), database_counts._ended(0, 1)):
            compiled = str(statement.compile(compile_kwargs={"literal_binds": True}))
            with store.database.transaction() as connection:
                plan = [row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))]
            assert "checkoutctl_sessions_expiry (expires_at>?)" in plan[0]


class TestTotals:
    def test_the_totals_are_exact_and_of_all_time(self, store: CheckoutStore, clock: ManualClock) -> None:
        store.set_payment_status(store.create({}).session.checkout_id, PaymentStatus.PAID)
        clock.advance(90_000)
        store.database.purge(store.database.due(clock.milliseconds, 10), clock.milliseconds)
        store.create({})
        assert store.database.totals() == Totals(created=2, completed=1, failed=0)

    def test_without_the_database_there_are_none(self, settings: Settings) -> None:
        with make_store(without_database(settings)) as store, pytest.raises(DatabaseUnavailable):
            store.database.totals()

    def test_what_older_programs_counted_is_in_redis(self, settings: Settings, store: CheckoutStore) -> None:
        assert store.redis.legacy_statistics() is None
        store.redis.ask(("HSET", "checkout:stats", "totalCreated", "7"))
        assert store.redis.legacy_statistics() == {"totalCreated": 7}
        with make_store(without_redis(settings)) as away, pytest.raises(RedisUnavailable):
            away.redis.legacy_statistics()


@pytest.mark.parametrize(("seconds", "minutes"), [(60, 1), (61, 2), (900, 15), (3600, 60)])
def test_a_span_is_read_in_whole_minutes(seconds: float, minutes: int) -> None:
    assert whole_minutes(seconds) == minutes


@pytest.mark.parametrize("seconds", [0, 59.999, 3600.001, 86_400])
def test_a_span_that_is_not_kept_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInput, match="1m to 60m"):
        whole_minutes(seconds)

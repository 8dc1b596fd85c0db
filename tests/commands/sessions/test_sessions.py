from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from checkout_cli.arguments.options import duration
from checkout_cli.clock import Clock
from checkout_cli.commands.sessions import sessions
from checkout_cli.commands.sessions.delete import Deletion, delete_all
from checkout_cli.commands.sessions.delete import plan as make_plan
from checkout_cli.commands.sessions.find import find
from checkout_cli.commands.sessions.sessions import (
    Order,
    Selection,
    changed_fields,
    create,
    list_sessions,
    parse_assignment,
    read_document,
    update,
)
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    DatabaseUnavailable,
    DurabilityUnavailable,
    InvalidInput,
    RedisUnavailable,
    SessionDeleted,
    SessionExists,
    SessionNotFound,
    TierUnavailable,
    TransitionRefused,
)
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import INDEX, session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Durability, TierName, iso
from checkout_cli.store import admin
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Problem
from tests.support.servers import ValkeyServer

NOWHERE = 1  # a port on which nothing listens


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with valkey.client() as opened:
        yield opened


@pytest.fixture
def told() -> list[str]:
    return []


def without_redis(store: CheckoutStore) -> CheckoutStore:
    return CheckoutStore.open(dataclasses.replace(store.settings, redis_port=NOWHERE))


def without_database(store: CheckoutStore, tmp_path: Path) -> CheckoutStore:
    return CheckoutStore.open(dataclasses.replace(store.settings, database_url=f"sqlite:///{tmp_path / 'none.db'}"))


def listed(store: CheckoutStore, wanted: Selection | None = None, tell: Callable[[str], None] = print) -> list[str]:
    return [sighting.checkout_id for sighting in list_sessions(store, wanted or Selection(), tell=tell)]


def foreign(client: redis.Redis, checkout_id: str, value: bytes | str, *, seconds: int = 900) -> None:
    client.set(session_key(checkout_id), value, ex=seconds)
    client.zadd(INDEX, {checkout_id: Clock().wall() + seconds * 1000})


def deleted(store: CheckoutStore, checkout_id: str, directory: Path) -> Deletion:
    plan = make_plan(store, [checkout_id], undo_file=directory / "undo")
    return delete_all(store, plan, agreed=lambda _: True)


def ago(seconds: int) -> str:
    return iso(Clock().wall() - seconds * 1000)


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("1.5h", 5400), (" 5m ", 300)]
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5M", "1h30m", "٥m", "1e3s", "99999999999d", "5m\n\0"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a duration"):
        duration(text)


# Listing


def test_the_newest_come_first_and_no_more_than_the_limit(store: CheckoutStore, client: redis.Redis) -> None:
    for number in range(5):
        store.create({}, checkout_id=f"session-{number}")
        client.zadd(INDEX, {f"session-{number}": Clock().wall() + number})

    assert listed(store) == [f"session-{number}" for number in (4, 3, 2, 1, 0)]
    assert listed(store, Selection(limit=2)) == ["session-4", "session-3"]


def test_a_list_stops_fetching_when_it_has_enough(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: Any, **__: Any) -> Iterator[Any]:
        yield admin.Seen([store.admin.inspect("session-0")] * 3, 3)
        pytest.fail("fetched more than the limit")

    store.create({}, checkout_id="session-0")
    monkeypatch.setattr(store.admin, "pages", endless)
    assert listed(store, Selection(limit=3)) == ["session-0"] * 3


def test_looking_never_extends_a_life(store: CheckoutStore, client: redis.Redis, told: list[str]) -> None:
    store.create({}, checkout_id="session-0")
    key = session_key("session-0")
    client.pexpire(key, 60_000)
    foreign(client, "foreign-1", b"{}", seconds=60)
    before = client.pttl(key), client.zscore(INDEX, "session-0")

    for order in Order:
        assert set(listed(store, Selection(order=order))) == {"session-0", "foreign-1"}
    find(store, "session-0", tell=told.append)
    find(store, "forei", tell=told.append)
    delete_all(store, make_plan(store, ["session-0"]), agreed=lambda _: False)

    assert client.pttl(key) <= before[0] <= 60_000
    assert client.ttl(session_key("foreign-1")) <= 60
    assert client.zscore(INDEX, "session-0") == before[1]
    store.get("session-0")  # the control: what a shop's read does
    assert client.pttl(key) > 60_000


def test_filters_select_by_status_user_expiry_and_age(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({"userId": "user-1"}, checkout_id="young-pending")
    store.create({"userId": "user-2", "paymentStatus": "paid", "createdAt": ago(3600)}, checkout_id="older-paid")
    store.create({}, checkout_id="ending-soon")
    client.pexpire(session_key("ending-soon"), 30_000)
    foreign(client, "half-a-one", b'{"items": [')

    assert listed(store, Selection(status="paid")) == ["older-paid"]
    assert listed(store, Selection(status="unreadable")) == ["half-a-one"]
    assert listed(store, Selection(user="user-1")) == ["young-pending"]
    assert listed(store, Selection(expiring_within=60)) == ["ending-soon"]
    assert listed(store, Selection(older_than=1800)) == ["older-paid"]
    assert listed(store, Selection(older_than=1800, user="user-1")) == []


def test_other_orders_sort_what_matches_and_put_the_unknown_last(store: CheckoutStore, client: redis.Redis) -> None:
    for name, total, status, age in (
        ("aaaaaaaa", 5, "paid", 30),
        ("bbbbbbbb", 9.5, "failed", 90),
        ("cccccccc", 1, "paid", 60),
    ):
        fields = {"totalAmount": total, "paymentStatus": status, "createdAt": ago(age)}
        store.create(fields, checkout_id=name)
    foreign(client, "half-a-one", b'{"items": [')
    client.persist(session_key("half-a-one"))
    client.pexpire(session_key("cccccccc"), 20_000)
    client.pexpire(session_key("aaaaaaaa"), 10_000)

    assert listed(store, Selection(order=Order.TOTAL)) == ["bbbbbbbb", "aaaaaaaa", "cccccccc", "half-a-one"]
    assert listed(store, Selection(order=Order.OLDEST)) == ["bbbbbbbb", "cccccccc", "aaaaaaaa", "half-a-one"]
    assert listed(store, Selection(order=Order.EXPIRES)) == ["aaaaaaaa", "cccccccc", "bbbbbbbb", "half-a-one"]
    assert listed(store, Selection(order=Order.STATUS))[0] == "bbbbbbbb"
    assert listed(store, Selection(order=Order.TOTAL, limit=1)) == ["bbbbbbbb"]


def test_a_sorted_list_looks_at_no_more_than_its_bound_and_says_so(
    store: CheckoutStore, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        store.create({}, checkout_id=f"session-{number}")
    monkeypatch.setattr(admin, "PAGE", 1)
    for most, finished in ((3, False), (5, True)):
        monkeypatch.setattr(sessions, "MOST_LOOKED_AT", most)
        for wanted in (Selection(order=Order.OLDEST), Selection(status="paid"), Selection(user="u-1")):
            run = BoundedRun(store.clock)
            found = list(list_sessions(store, wanted, run, tell=told.append))
            assert len(found) == (min(most, 4) if wanted.order is Order.OLDEST else 0)
            assert (run.finished, run.looked_at) == (finished, min(most, 4))


def test_what_is_no_session_is_listed_as_what_it_is(store: CheckoutStore, client: redis.Redis) -> None:
    foreign(client, "half-a-one", b'{"items": [')
    foreign(client, "too-large-a-one", b"x" * (1024 * 1024 + 1))
    client.rpush(session_key("list-of-things"), "a")
    client.zadd(INDEX, {"list-of-things": Clock().wall() + 1000})
    foreign(client, "a:b*\n\x1b[31m", b'{"paymentStatus": "paid"}')

    found = {sighting.checkout_id: sighting for sighting in list_sessions(store, Selection(), tell=print)}

    assert found["half-a-one"].problem is Problem.CORRUPT
    assert found["too-large-a-one"].problem is Problem.TOO_LARGE
    assert found["list-of-things"].problem is Problem.WRONG_TYPE
    strange = found["a:b*\n\x1b[31m"].session
    assert strange is not None
    assert strange.version == 0


def test_without_redis_the_database_is_listed_and_it_is_said(store: CheckoutStore, told: list[str]) -> None:
    store.create({}, checkout_id="session-0")

    with without_redis(store) as cut_off:
        assert listed(cut_off, tell=told.append) == ["session-0"]
    assert len(told) == 1
    assert told[0].startswith("Redis is away (Redis at 127.0.0.1:1")
    assert told[0].endswith("; listing from the database")


def test_without_a_database_redis_is_listed_and_it_is_said(
    store: CheckoutStore, told: list[str], tmp_path: Path
) -> None:
    store.create({}, checkout_id="session-0")

    with without_database(store, tmp_path) as cut_off:
        assert listed(cut_off, tell=told.append) == ["session-0"]
        sighting = find(cut_off, "session-0", tell=told.append)
    assert "listing what Redis has" in told[0]
    assert sighting.session is not None
    assert not sighting.session.verified


def test_with_neither_there_is_an_error_and_no_empty_list(store: CheckoutStore, tmp_path: Path) -> None:
    gone = f"sqlite:///{tmp_path / 'none.db'}"
    with CheckoutStore.open(dataclasses.replace(store.settings, redis_port=NOWHERE, database_url=gone)) as cut_off:
        with pytest.raises(DatabaseUnavailable):
            listed(cut_off, tell=lambda _: None)
        with pytest.raises(TierUnavailable):
            find(cut_off, "session-0", tell=print)


def test_with_sessions_switched_off_in_redis_the_database_is_listed_in_silence(
    store: CheckoutStore, told: list[str]
) -> None:
    store.create({}, checkout_id="session-0")
    switched_off = dataclasses.replace(store.settings, enable_checkout_sessions=False, redis_port=NOWHERE)
    with CheckoutStore.open(switched_off) as without:
        assert listed(without, tell=told.append) == ["session-0"]
    assert told == []


def test_one_tier_alone_can_be_listed(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({}, checkout_id="session-0")
    foreign(client, "foreign-1", b"{}")

    assert listed(store, Selection(tier=TierName.DATABASE)) == ["session-0"]
    assert set(listed(store, Selection(tier=TierName.REDIS))) == {"session-0", "foreign-1"}
    assert listed(store, Selection(tier=TierName.MEMORY)) == []
    with without_redis(store) as cut_off, pytest.raises(RedisUnavailable):
        listed(cut_off, Selection(tier=TierName.REDIS))


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": ""},
        {"user": " "},
        {"user": "a\nb"},
        {"user": "x" * 300},
        {"status": "PAID"},
        {"status": ""},
        {"limit": 0},
    ],
)
def test_a_selection_that_can_match_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Selection(**wrong)


# Finding one


def test_the_beginning_of_an_id_finds_it_where_no_other_shares_it(store: CheckoutStore, told: list[str]) -> None:
    store.create({}, checkout_id="same-start-1")
    store.create({}, checkout_id="same-start-2")

    assert find(store, "same-start-1", tell=told.append).checkout_id == "same-start-1"
    with pytest.raises(InvalidInput, match="2 sessions begin with 'same': same-start-1, same-start-2"):
        find(store, "same", tell=told.append)
    store.delete("same-start-2")
    assert find(store, "same", tell=told.append).checkout_id == "same-start-1"


def test_an_exact_id_wins_over_longer_ones(store: CheckoutStore, told: list[str]) -> None:
    store.create({}, checkout_id="same-start")
    store.create({}, checkout_id="same-start-2")

    assert find(store, "same-start", tell=told.append).checkout_id == "same-start"


def test_many_candidates_are_not_all_named(store: CheckoutStore) -> None:
    for number in range(12):
        store.create({}, checkout_id=f"same-start-{number:02d}")

    with pytest.raises(InvalidInput, match="more than 10 sessions") as caught:
        find(store, "same", tell=print)
    assert str(caught.value).count("same-start") == 10


@pytest.mark.parametrize("short", ["", "a", "abc"])
def test_a_beginning_of_fewer_than_four_characters_is_refused(store: CheckoutStore, short: str) -> None:
    with pytest.raises(InvalidInput, match="too short"):
        find(store, short, tell=print)


@pytest.mark.parametrize(
    "unknown",
    [
        "unknown-id",
        "sess*",
        "*****",
        "[s]ession",
        "a:b:c:d",
        "line\nbreak",
        "nul\0byte",
        "\x1b[31mred",
        "\udcff\udcfe12",
    ],
)
def test_an_unknown_id_is_not_found_whatever_is_in_it(store: CheckoutStore, unknown: str) -> None:
    store.create({}, checkout_id="session-0")

    with pytest.raises(SessionNotFound):
        find(store, unknown, tell=print)


@pytest.mark.parametrize(
    "odd", ["x", "a:b*", "line\nbreak\n", "nul\0byte", "\x1b]0;x\x07", "{tag}", "bytes-\udcff", "١٢٣٤٥٦٧٨"]
)
def test_a_foreign_session_is_found_and_deleted_by_its_exact_id(
    store: CheckoutStore, client: redis.Redis, odd: str, tmp_path: Path
) -> None:
    key = session_key(odd).encode("utf-8", "surrogateescape")
    client.set(key, b'{"totalAmount": 1}', ex=900)

    sighting = find(store, odd, tell=print)
    assert sighting.session is not None
    assert sighting.session.fields == {"totalAmount": 1}
    assert deleted(store, odd, tmp_path).deleted == [odd]
    assert not client.exists(key)


def test_an_id_that_was_deleted_is_not_taken_for_the_beginning_of_another(store: CheckoutStore) -> None:
    store.create({}, checkout_id="same-start")
    store.create({}, checkout_id="same-start-2")
    store.delete("same-start")

    with pytest.raises(SessionDeleted):
        find(store, "same-start", tell=print)


def test_without_redis_the_beginning_of_an_id_is_looked_up_in_the_database(
    store: CheckoutStore, told: list[str]
) -> None:
    store.create({}, checkout_id="session-0")

    with without_redis(store) as cut_off:
        assert find(cut_off, "sess", tell=told.append).tier is TierName.DATABASE
        with pytest.raises(TierUnavailable):  # Redis may have it
            find(cut_off, "unknown-id", tell=told.append)
    assert told == ["Redis is away; this is the database's copy"]


# Creating


def test_a_document_comes_from_a_file_or_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_text('{"totalAmount": 1}')

    assert read_document(path) == {"totalAmount": 1}
    assert read_document(io.BytesIO(b'{"totalAmount": 1}')) == {"totalAmount": 1}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" \n",
        b"nope",
        b"[1]",
        b"null",
        b'"text"',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        b'{"_store": 1}',
        b"x" * 1024 * 1024,
    ],
)
def test_a_document_that_is_no_session_is_refused_in_one_line(document: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_document(io.BytesIO(document))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_an_endless_stream_is_read_no_further_than_a_session_can_be(tmp_path: Path) -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size < 1_000_000
            return b" " * size

    with pytest.raises(InvalidInput, match="larger than"):
        read_document(Endless())


def test_a_file_that_cannot_be_read_is_wrong_input(tmp_path: Path) -> None:
    for path, reason in [
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory|Permission"),
        (Path("a\0b"), "null"),
    ]:
        with pytest.raises(InvalidInput, match=reason):
            read_document(path)


def test_a_created_session_says_how_durable_it_is(store: CheckoutStore) -> None:
    written = create(store, {"totalAmount": 1}, checkout_id="session-0")

    assert written.acknowledgement.durability is Durability.DATABASE
    assert written.acknowledgement.published
    assert not written.degraded
    with pytest.raises(SessionExists):
        create(store, {}, checkout_id="session-0")


def test_a_write_without_redis_is_accepted_and_marked_as_degraded(store: CheckoutStore, tmp_path: Path) -> None:
    with without_redis(store) as cut_off:
        written = create(cut_off, {}, checkout_id="session-0")
        changed = update(cut_off, "session-0", ["notes=x"])
        gone = deleted(cut_off, "session-0", tmp_path)

    assert (written.degraded, written.acknowledgement.published) == (True, False)
    assert changed.degraded
    assert gone.degraded


def test_with_sessions_switched_off_in_redis_no_write_is_degraded(store: CheckoutStore) -> None:
    switched_off = dataclasses.replace(store.settings, enable_checkout_sessions=False)
    with CheckoutStore.open(switched_off) as without:
        assert not create(without, {}, checkout_id="session-0").degraded


def test_a_write_that_only_memory_would_take_is_refused(settings: Settings) -> None:
    gone = f"postgresql://nobody@{HOST}:{NOWHERE}/nothing"
    with CheckoutStore.open(dataclasses.replace(settings, redis_port=NOWHERE, database_url=gone)) as cut_off:
        with pytest.raises(DurabilityUnavailable):
            create(cut_off, {})
        with pytest.raises(DurabilityUnavailable):
            update(cut_off, "session-0", ["notes=x"])
        assert len(cut_off.memory) == 0


# Changing


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("couponCode=SUMMER10", ("couponCode",), "SUMMER10"),
        ("totalAmount=12.5", ("totalAmount",), 12.5),
        ('couponCode="123"', ("couponCode",), "123"),
        ("couponCode=null", ("couponCode",), None),
        ("notes=a=b", ("notes",), "a=b"),
        ("notes=", ("notes",), ""),
        ("notes=NaN", ("notes",), "NaN"),
        ("contactInfo.name=Ada", ("contactInfo", "name"), "Ada"),
        ('items=[{"quantity": 2}]', ("items",), [{"quantity": 2}]),
    ],
)
def test_a_value_is_json_where_it_is_valid_and_else_text(text: str, path: tuple[str, ...], value: object) -> None:
    assignment = parse_assignment(text)

    assert (assignment.path, assignment.value) == (path, value)


@pytest.mark.parametrize(
    "text",
    ["", "notes", "=1", "a.=1", ".a=1", "a..b=1", "checkoutId=x", "expiresAt=x", "createdAt=x", "a=" + "[" * 100_000,
     ".".join("a" * 40) + "=1"],
)  # fmt: skip
def test_an_assignment_that_sets_nothing_settable_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_assignment(text)
    assert len(str(caught.value)) < 200


def test_a_path_changes_one_field_of_an_object_and_keeps_the_others() -> None:
    present = {"contactInfo": {"name": "Ada", "phone": "1"}, "notes": "x"}
    wanted = [parse_assignment(text) for text in ("contactInfo.name=Eve", "contactInfo.more.deep=1", "gift.to=Bo")]

    assert changed_fields(present, wanted) == {
        "contactInfo": {"name": "Eve", "phone": "1", "more": {"deep": 1}},
        "gift": {"to": "Bo"},
    }
    assert present == {"contactInfo": {"name": "Ada", "phone": "1"}, "notes": "x"}  # it may be asked again


@pytest.mark.parametrize("text", ["notes.inner=1", "items.0=1", "items=[1,", "contactInfo={name: Ada}"])
def test_a_structure_is_never_replaced_by_mistake(text: str) -> None:
    present = {"notes": "x", "items": [{}], "contactInfo": {"name": "Ada"}}

    with pytest.raises(InvalidInput):
        changed_fields(present, [parse_assignment(text)])


def test_all_assignments_make_one_version_and_leave_the_rest_alone(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({"totalAmount": 1.5, "unknown": {"a": [1]}}, checkout_id="session-0")

    written = update(store, "session-0", ["notes=x", "couponCode=A", "paymentStatus=paid"])

    assert written.acknowledgement.session.version == 2
    fields = store.get("session-0").fields
    assert (fields["notes"], fields["couponCode"], fields["paymentStatus"]) == ("x", "A", "paid")
    assert (fields["totalAmount"], fields["unknown"]) == (1.5, {"a": [1]})


def test_a_payment_only_goes_where_it_may(store: CheckoutStore) -> None:
    store.create({"paymentStatus": "paid"}, checkout_id="session-0")

    with pytest.raises(TransitionRefused):
        update(store, "session-0", ["paymentStatus=pending", "notes=x"])
    with pytest.raises(InvalidInput, match="not a payment status"):
        update(store, "session-0", ["paymentStatus=refunded"])
    assert store.admin.inspect("session-0").session.version == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["_store=x", "_store.x=1", "big=99999999999999999999"])
def test_the_stores_own_fields_and_what_json_cannot_hold_are_refused(store: CheckoutStore, text: str) -> None:
    store.create({}, checkout_id="session-0")

    with pytest.raises(InvalidInput):
        update(store, "session-0", [text])


def test_a_shops_own_fields_may_have_the_names_that_the_stores_had(store: CheckoutStore) -> None:
    store.create({}, checkout_id="session-0")
    update(store, "session-0", ["version=7", "stamp=x", "undrained=[]"])
    session = store.get("session-0")
    assert (session.version, session.fields["version"], session.fields["stamp"]) == (2, 7, "x")


def test_an_update_needs_something_to_set_and_an_id_that_no_other_shares(store: CheckoutStore) -> None:
    store.create({}, checkout_id="session-0")

    with pytest.raises(InvalidInput, match="nothing to set"):
        update(store, "session-0", [])
    assert update(store, "session-", ["notes=x"]).acknowledgement.session.checkout_id == "session-0"
    with pytest.raises(InvalidInput):
        update(store, "sess*", ["notes=x"])
    with pytest.raises(SessionNotFound):
        update(store, "nothing-", ["notes=x"])
    store.create({}, checkout_id="session-1")
    with pytest.raises(InvalidInput, match="2 sessions begin with 'session-': session-0, session-1"):
        update(store, "session-", ["notes=x"])


def test_a_foreign_session_is_adopted_by_an_update(store: CheckoutStore, client: redis.Redis) -> None:
    foreign(client, "foreign-1", b'{"totalAmount": 10.50, "loyalty": 7}')

    update(store, "foreign-1", ["notes=x"])

    value = json.loads(client.get(session_key("foreign-1")))  # type: ignore[arg-type]
    assert (value["loyalty"], value["notes"]) == (7, "x")
    assert store.get("foreign-1").version == 2  # theirs is the first, ours the second

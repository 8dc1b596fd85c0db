"""All living sessions go out, each once, and an export can be taken up again where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import redis

from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.sessions import export as module
from checkout_cli.commands.sessions.export import Exported, Position, export
from checkout_cli.commands.sessions.index_adoption import adopt_index
from checkout_cli.errors import InvalidInput, TierUnavailable
from checkout_cli.keys import INDEX, INDEX_BESIDE, session_key
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis import index
from tests.support.divergence import create_in_redis_alone, set_columns, update_in_database_alone, write_externally
from tests.support.servers import ValkeyServer
from tests.support.stores import make_store

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with valkey.client() as opened:
        yield opened


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)


def silent(_: str) -> None:
    """For who does not want to be told."""


def exported(store: CheckoutStore, **options: Any) -> list[Exported]:
    return [session for page in export(store, tell=silent, **options) for session in page.sessions]


def ids(store: CheckoutStore, **options: Any) -> list[str]:
    return [session.checkout_id for session in exported(store, **options)]


def create(store: CheckoutStore, number: int) -> list[str]:
    names = [f"export-{place:03}" for place in range(number)]
    for place, name in enumerate(names):
        store.create({"totalAmount": place}, checkout_id=name)
        store.redis.ask(("ZADD", INDEX, store.clock.wall() + 600_000 + place, name))
    store.notes.write_down()
    return names


def test_each_comes_once_those_that_can_end_first_come_first(store: CheckoutStore) -> None:
    names = create(store, 10)
    found = exported(store)
    assert [session.checkout_id for session in found] == names
    assert {(session.tier, session.version) for session in found} == {(TierName.REDIS, 1)}
    assert [json.loads(session.body)["totalAmount"] for session in found] == list(range(10))


def test_nothing_is_extended(store: CheckoutStore, client: redis.Redis) -> None:
    (name,) = create(store, 1)
    client.pexpire(session_key(name), 60_000)
    exported(store)
    assert client.pttl(session_key(name)) <= 60_000


def test_many_that_end_at_the_same_moment_cost_no_more_than_others(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent_for(number: int) -> int:
        """Bytes that the server sends for an export of so many."""
        moment = store.clock.wall() + 900_000
        client.delete(INDEX)
        client.zadd(INDEX, {f"export-{place:05}": moment for place in range(number)})
        before = client.info("stats")["total_net_output_bytes"]
        pages = list(export(store, page_size=100, tell=silent))
        assert sum(page.dead for page in pages) == number
        return int(client.info("stats")["total_net_output_bytes"] - before)

    assert sent_for(10_000) < 6 * sent_for(2_000)
    monkeypatch.setattr(index, "OVERLAP", 10_000)  # the control: each page reads all of them again
    assert sent_for(10_000) > 10 * sent_for(2_000)


def test_what_leaves_the_index_behind_the_reader_makes_it_pass_over_nobody(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "OVERLAP", 1)
    names = create(store, 30)
    client.zadd(INDEX, dict.fromkeys(names, store.clock.wall() + 900_000))
    found: list[str] = []
    for page in export(store, page_size=3, tell=silent):
        found += [session.checkout_id for session in page.sessions]
        client.zrem(INDEX, *found[-6:])  # the last one that was read is among them
    assert found == names


def test_many_that_end_at_the_same_moment_all_come(store: CheckoutStore, client: redis.Redis) -> None:
    names = create(store, 11)
    client.zadd(INDEX, dict.fromkeys(names, store.clock.wall() + 900_000))
    assert ids(store) == sorted(names)


def test_where_redis_may_be_old_the_database_is_believed(store: CheckoutStore, client: redis.Redis) -> None:
    names = create(store, 6)
    update_in_database_alone(store.settings, names[0], totalAmount=100)  # Redis lacks it
    client.set(session_key(names[1]), b'{"totalAmount":101}', keepttl=True)  # without our header: no base, a conflict
    write_externally(store, names[5], totalAmount=105)  # with it: newer than the row
    client.delete(session_key(names[2]))  # evicted
    client.set(session_key(names[3]), b"{broken", keepttl=True)
    store.delete(names[4])
    client.set(session_key("foreign-01"), b'{"totalAmount":7}', px=600_000)
    client.zadd(INDEX, {"foreign-01": store.clock.wall() + 1_000_000, "gone-00001": store.clock.wall() + 1_000_001})
    found = {session.checkout_id: session for session in exported(store)}
    assert set(found) == {*names, "foreign-01"} - {names[4]}
    totals = {name: json.loads(session.body)["totalAmount"] for name, session in found.items()}
    assert totals == {names[0]: 100, names[1]: 1, names[2]: 2, names[3]: 3, names[5]: 105, "foreign-01": 7}
    assert found["foreign-01"].version == 0
    assert found[names[5]].version == 2
    assert found[names[2]].tier is TierName.DATABASE


def test_a_value_that_is_no_session_is_counted(store: CheckoutStore, client: redis.Redis) -> None:
    client.set(session_key("broken-001"), b"{broken", px=600_000)
    client.zadd(INDEX, {"broken-001": store.clock.wall() + 600_000})
    pages = list(export(store, tell=silent))
    assert (sum(page.unreadable for page in pages), [page.sessions for page in pages]) == (1, [[]])


def test_what_the_index_does_not_list_comes_from_the_database(store: CheckoutStore, client: redis.Redis) -> None:
    names = create(store, 7)
    client.zrem(INDEX, *names[:4])
    set_columns(store, names[0], expires_at=store.clock.wall() - 1)  # and what has ended does not
    found = exported(store)
    assert sorted(session.checkout_id for session in found) == names[1:]
    assert {session.tier for session in found if session.checkout_id in names[:4]} == {TierName.DATABASE}


def test_what_only_redis_has_comes_too(store: CheckoutStore) -> None:
    create_in_redis_alone(store.settings, "waiting-01")
    assert ids(store) == ["waiting-01"]


def test_without_an_index_all_come_once_all_the_same(store: CheckoutStore, client: redis.Redis) -> None:
    names = create(store, 7)
    client.delete(INDEX)
    assert sorted(ids(store)) == names
    with pytest.raises(InvalidInput, match="no index to go on in"):
        ids(store, cursor="r1-x")


def test_beside_an_older_programs_set_all_come_once(store: CheckoutStore, client: redis.Redis) -> None:
    names = create(store, 7)
    client.rename(INDEX, INDEX_BESIDE)
    client.sadd(INDEX, *names[:5])
    client.zrem(INDEX_BESIDE, *names[:2])
    for number in range(9):
        client.set(session_key(f"older-{number:04}"), b'{"totalAmount":7}', px=600_000)
        client.sadd(INDEX, f"older-{number:04}")
    assert sorted(ids(store, page_size=3)) == sorted([*names, *(f"older-{number:04}" for number in range(9))])


def test_one_that_a_clean_up_takes_in_meanwhile_comes_once(store: CheckoutStore, client: redis.Redis) -> None:
    names = create(store, 7)
    client.rename(INDEX, INDEX_BESIDE)
    client.zrem(INDEX_BESIDE, names[0])
    client.sadd(INDEX, *names)
    found: list[str] = []
    for page in export(store, page_size=3, tell=silent):
        found += [session.checkout_id for session in page.sessions]
        if names[0] in found:
            clean_up(store)
    assert sorted(found) == names
    assert client.zscore(INDEX_BESIDE, names[0])


@pytest.mark.parametrize("after", range(1, 7))
def test_beside_a_set_it_goes_on_where_it_stopped_and_misses_none(
    store: CheckoutStore, client: redis.Redis, after: int
) -> None:
    names = create(store, 9)
    client.rename(INDEX, INDEX_BESIDE)
    client.sadd(INDEX, *names)
    client.zrem(INDEX_BESIDE, *names[:4])
    pages = list(islice(export(store, page_size=3, tell=silent), after))
    first = [session.checkout_id for page in pages for session in page.sessions]
    rest = ids(store, page_size=3, cursor=pages[-1].cursor)
    assert {*first, *rest} == set(names)
    assert set(first) & set(rest) <= set(names[:4])  # what has no moment may come again


def test_while_the_index_is_adopted_none_is_missed(store: CheckoutStore, client: redis.Redis) -> None:
    names = create(store, 12)
    client.rename(INDEX, INDEX_BESIDE)
    client.sadd(INDEX, *names)
    found: list[str] = []
    with make_store(store.settings) as another:
        for place, page in enumerate(export(store, page_size=3, tell=silent)):
            found += [session.checkout_id for session in page.sessions]
            if place == 1:
                assert adopt_index(another, agreed=lambda _: True).finished
    assert sorted(found) == names


def test_one_that_is_written_meanwhile_comes_once(store: CheckoutStore) -> None:
    names = create(store, 9)
    found: list[str] = []
    for place, page in enumerate(export(store, tell=silent)):
        found += [session.checkout_id for session in page.sessions]
        if place == 0:
            store.update(names[0], {"notes": "x"})  # has gone out
            store.update(names[8], {"notes": "x"})  # has not
    assert sorted(found) == names


@pytest.mark.parametrize("after", range(1, 6))
def test_it_goes_on_where_it_stopped(store: CheckoutStore, client: redis.Redis, after: int) -> None:
    names = create(store, 12)
    client.zadd(INDEX, dict.fromkeys(names[2:7], store.clock.wall() + 600_002))
    client.zrem(INDEX, *names[9:])
    pages = list(islice(export(store, page_size=3, tell=silent), after))
    assert len(pages) == min(after, 4)
    first = [session.checkout_id for page in pages for session in page.sessions]
    rest = ids(store, page_size=3, cursor=pages[-1].cursor)
    assert sorted([*first, *rest]) == names


@pytest.mark.parametrize(
    "cursor", ["", "x", "r-", "r1", "z5-a", "r" + "9" * 310 + "-a", "d" + "9" * 20 + "-a", "r١-a", "d-1-a"]
)
def test_a_cursor_that_is_none_is_refused(store: CheckoutStore, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="not a cursor"):
        ids(store, cursor=cursor)


def test_a_cursor_is_read_as_it_was_written() -> None:
    for position in (Position(True, 0, "a-b"), Position(False, 1795415206990, "line\nbreak")):
        assert Position.parse(str(position)) == position


def test_without_one_tier_the_other_is_exported(store: CheckoutStore) -> None:
    names = create(store, 7)
    told: list[str] = []
    with make_store(replace(store.settings, redis_port=1)) as without_redis:
        found = [one for page in export(without_redis, tell=told.append) for one in page.sessions]
    assert sorted(one.checkout_id for one in found) == names
    assert {one.tier for one in found} == {TierName.DATABASE}
    with make_store(replace(store.settings, database_url=NOWHERE)) as without_database:
        found = [one for page in export(without_database, tell=told.append) for one in page.sessions]
    assert sorted(one.checkout_id for one in found) == names
    assert len(told) == 2
    nothing = replace(store.settings, redis_port=1, database_url=NOWHERE)
    with make_store(nothing) as cut_off, pytest.raises(TierUnavailable):
        ids(cut_off)


def _ours_at_both_ends(store: CheckoutStore) -> list[str]:
    """Or else the index would be taken for another program's."""
    names = create(store, 24)
    for name in names[:12]:
        store.redis.ask(("ZADD", INDEX, store.clock.wall() + 60_000, name))
    return names


def test_a_cursor_names_nobody_and_goes_on_behind_who_it_does_not_name(store: CheckoutStore) -> None:
    names = [f"jane.{place}@example.org" for place in range(8)]
    ours = _ours_at_both_ends(store)
    moment = store.clock.wall() + 300_000  # of all of them
    for name in names:
        store.redis.ask(("SET", f"checkout:session:{name}", b'{"items":[]}', "EX", 600))
        store.redis.ask(("ZADD", INDEX, moment, name))
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(40):
        page = next(iter(export(store, cursor=cursor, page_size=3, tell=silent)), None)
        if page is None or not page.sessions:
            break
        seen += [session.checkout_id for session in page.sessions]
        cursor = page.cursor
        assert "jane" not in cursor
    assert seen == [*ours[:12], *names, *ours[12:]], "none is missing, and none comes twice"


def test_a_cursor_whose_mark_is_gone_begins_with_its_moment_again(store: CheckoutStore) -> None:
    _ours_at_both_ends(store)
    moment = store.clock.wall() + 300_000
    for name in ("!before", "jane@example.org"):
        store.redis.ask(("SET", f"checkout:session:{name}", b'{"items":[]}', "EX", 600))
        store.redis.ask(("ZADD", INDEX, moment, name))
    assert ids(store, cursor=f"r{moment}-#0000")[:2] == ["!before", "jane@example.org"]


def test_without_the_mark_the_cursor_would_name_her(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "jane" not in str(module.Position(True, 1.0, "jane@example.org"))
    monkeypatch.setattr(module, "is_personal", lambda _: False)
    assert "jane" in str(module.Position(True, 1.0, "jane@example.org"))

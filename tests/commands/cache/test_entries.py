from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator

import pytest
import redis

from checkout_cli.commands.cache.entries import (
    LARGEST_DOCUMENT,
    Invalidation,
    Replacement,
    invalidate_coupons,
    invalidate_delivery,
    list_entries,
    look_at_coupon,
    look_at_delivery,
    parse_document,
    read_document,
    replace_coupon,
    replace_delivery,
)
from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, CacheEntryNotFound, InvalidInput, RedisUnavailable
from checkout_cli.jobs import key_scan
from checkout_cli.keys import DELIVERY_GENERATION, coupon_key, delivery_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.servers import ValkeyServer

NOWHERE = 1  # a port on which nothing listens


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with valkey.client() as opened:
        yield opened


@pytest.fixture
def away(settings: Settings) -> Iterator[CheckoutStore]:
    with CheckoutStore.open(dataclasses.replace(settings, redis_port=NOWHERE)) as opened:
        yield opened


def always(_asked: object) -> bool:
    return True


def never(_asked: object) -> bool:
    return False


def put_charges(store: CheckoutStore, *distances: float) -> None:
    for distance in distances:
        replace_delivery(store, str(distance), "20", b"3.9", agreed=always)


def put_coupon(store: CheckoutStore, code: str, answer: bytes = b'{"valid": true}', context: bytes = b"{}") -> None:
    replace_coupon(store, code, context, answer, agreed=always)


# Looking


def test_a_charge_is_found_however_its_key_is_written(store: CheckoutStore) -> None:
    replace_delivery(store, "5.20", "24.50", b'{"charge": 3.9}', agreed=always)

    found = look_at_delivery(store, "5.2", "24.5")

    assert found.served
    assert found.entry.names == ("5.2", "24.5")
    assert found.entry.answers[0].value == {"charge": 3.9}
    assert found.entry.ttl is not None
    assert 0 < found.entry.ttl <= 1.1 * store.settings.delivery_ttl * 1000
    assert found.entry.answers[0].written_at is not None
    assert 0 <= found.now - found.entry.answers[0].written_at < 60_000


def test_what_is_not_cached_is_not_found_and_nothing_is_computed_or_left_behind(
    store: CheckoutStore, client: redis.Redis
) -> None:
    with pytest.raises(CacheEntryNotFound):
        look_at_delivery(store, "5.2", "24.5")
    with pytest.raises(CacheEntryNotFound):
        look_at_coupon(store, "WELCOME10")

    assert client.exists(delivery_key("5.2", "24.5"), coupon_key("WELCOME10")) == 0


@pytest.mark.parametrize("distance", ["", "far", "NaN", "inf", "-1", "1e9", "*"])
def test_what_is_no_distance_is_refused(distance: str, store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput):
        look_at_delivery(store, distance, "20")
    with pytest.raises(InvalidInput):
        replace_delivery(store, distance, "20", b"1", agreed=always)


@pytest.mark.parametrize("code", ["", " ", "*", "a b", "x\ny", "\x1b[31m", "\u202eABC", "x" * 1_000_000])
def test_what_is_no_code_is_refused(code: str, store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput):
        look_at_coupon(store, code)
    with pytest.raises(InvalidInput):
        invalidate_coupons(store, code, agreed=always)


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff\xfe", b'{"price": 3}'])
def test_rubbish_at_a_key_is_shown_as_not_served(value: bytes, store: CheckoutStore, client: redis.Redis) -> None:
    client.set(delivery_key("5", "20"), value, ex=60)
    client.set(coupon_key("X"), value, ex=60)

    assert not look_at_delivery(store, "5", "20").served
    assert not look_at_coupon(store, "x").served


def test_another_type_at_a_key_is_shown_as_not_served(store: CheckoutStore, client: redis.Redis) -> None:
    client.rpush(delivery_key("5", "20"), "3.9")

    found = look_at_delivery(store, "5", "20")

    assert (found.served, str(found.entry.problem)) == (False, "wrong type")
    assert list_entries(store, "delivery", limit=10, cursor="0").found == {found.entry.key: found.entry}


def test_a_cache_that_is_switched_off_serves_nothing(settings: Settings, store: CheckoutStore) -> None:
    put_charges(store, 5)
    with CheckoutStore.open(dataclasses.replace(settings, enable_delivery_cache=False)) as off:
        assert not look_at_delivery(off, "5", "20").served
    assert look_at_delivery(store, "5", "20").served


# Replacing


def test_what_is_put_is_shown_before_and_after_and_only_then_written(store: CheckoutStore) -> None:
    seen: list[Replacement] = []

    def agreed(replacement: Replacement) -> bool:
        seen.append(replacement)
        return len(seen) < 3

    replace_delivery(store, "5", "20", b"3.9", agreed=agreed)
    replaced = replace_delivery(store, "5", "20", b"4.5", agreed=agreed)
    refused = replace_delivery(store, "5", "20", b"99", agreed=agreed)

    assert seen[0].before is None
    assert seen[1].before is not None
    assert (seen[1].before.value, seen[1].after) == (3.9, 4.5)
    assert (replaced.done, refused.done) == (True, False)
    assert look_at_delivery(store, "5", "20").entry.answers[0].value == 4.5


@pytest.mark.parametrize("document", [b"", b"nope", b"NaN", b"null", b"[1,", b'{"a": 1, "a": 2}', b"\xff", b"[" * 9999])
def test_what_is_no_charge_is_refused_before_anybody_is_asked(document: bytes, store: CheckoutStore) -> None:
    def agreed(_replacement: Replacement) -> bool:
        pytest.fail("asked for consent to what cannot be written")

    with pytest.raises(InvalidInput):
        replace_delivery(store, "5", "20", document, agreed=agreed)


@pytest.mark.parametrize("document", [b"true", b"[]", b"{}", b'{"valid": 1}', b'{"valid": "yes"}', b"null"])
def test_an_answer_about_a_coupon_needs_a_boolean_valid(document: bytes, store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput):
        replace_coupon(store, "X", b"{}", document, agreed=always)


@pytest.mark.parametrize("context", [b"", b"[]", b"3", b"{"])
def test_what_is_no_context_is_refused(context: bytes, store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput):
        replace_coupon(store, "X", context, b'{"valid": true}', agreed=always)


def test_answers_for_different_contexts_stand_beside_each_other(store: CheckoutStore) -> None:
    put_coupon(store, "welcome10", b'{"valid": true}', b'{"total": 50}')
    put_coupon(store, "WELCOME10", b'{"valid": false}', b'{"total": 5}')

    answers = look_at_coupon(store, "Welcome10").entry.answers

    assert [answer.value["valid"] for answer in answers] == [False, True]  # the newest first
    assert len({answer.context for answer in answers}) == 2


def test_a_document_is_never_read_further_than_it_may_be_long() -> None:
    stream = io.BytesIO(b" " * (10 * LARGEST_DOCUMENT))

    with pytest.raises(InvalidInput):
        parse_document(read_document(stream), "the charge")
    assert stream.tell() <= LARGEST_DOCUMENT + 1


# Listing


def test_pages_by_the_cursor_bring_every_entry_and_each_page_is_about_as_long_as_wanted(
    store: CheckoutStore, client: redis.Redis
) -> None:
    put_charges(store, *range(60))
    put_coupon(store, "X")
    client.mset({f"checkout:session:{number}": "{}" for number in range(500)})
    found: set[str] = set()
    cursor: str | None = "0"
    while cursor is not None:
        listing = list_entries(store, "delivery", limit=10, cursor=cursor)
        assert len(listing.found) <= 60
        found.update(entry.key for entry in listing.found.values())
        cursor = listing.cursor

    assert found == {delivery_key(str(distance), "20") for distance in range(60)}


def test_a_list_stops_near_its_limit_and_says_where_to_go_on(store: CheckoutStore) -> None:
    put_charges(store, *range(200))

    listing = list_entries(store, "delivery", limit=20, cursor="0")

    assert 20 <= len(listing.found) < 60
    assert listing.cursor is not None


def test_a_list_looks_at_a_bounded_number_of_keys(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_scan, "MOST_KEYS", 2000)
    client.mset({f"checkout:session:{number}": "{}" for number in range(9000)})

    listing = list_entries(store, "coupon", limit=50, cursor="0")

    assert listing.looked_at <= 3000
    assert listing.cursor is not None


def test_a_list_says_which_are_stale_and_leaves_the_generation_out(store: CheckoutStore, client: redis.Redis) -> None:
    put_charges(store, 3, 7)
    invalidate_delivery(store, "5", None, agreed=always)
    assert client.exists(DELIVERY_GENERATION)

    entries = tuple(list_entries(store, "delivery", limit=50, cursor="0").found.values())

    problems = {entry.names[0]: entry.answers[0].problem for entry in entries}
    assert problems.keys() == {"3", "7"}
    assert problems["3"] is None
    assert str(problems["7"]) == "invalidated"


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "18446744073709551616", "9" * 100, "٣"])
def test_what_is_no_cursor_is_refused(cursor: str, store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput):
        list_entries(store, "delivery", limit=10, cursor=cursor)


# Invalidating


def preview_of(invalidate: Callable[[Callable[[Invalidation], bool]], Invalidation]) -> Invalidation:
    previewed = invalidate(never)
    assert not previewed.done
    return previewed


def test_a_preview_counts_changes_nothing_and_names_examples(store: CheckoutStore) -> None:
    put_charges(store, *range(8))

    preview = preview_of(lambda agreed: invalidate_delivery(store, None, None, agreed=agreed))

    assert (preview.count, preview.exact, len(preview.examples)) == (8, True, 5)
    assert look_at_delivery(store, "3", "20").served


def test_a_preview_of_very_many_keys_is_bounded_and_says_that_it_is_not_exact(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_scan, "MOST_KEYS", 1000)
    client.mset({delivery_key(str(number), "20"): "{}" for number in range(5000)})

    preview = preview_of(lambda agreed: invalidate_delivery(store, None, None, agreed=agreed))

    assert not preview.exact
    assert preview.count is not None
    assert 0 < preview.count < 5000


def test_a_range_invalidates_its_distances_both_ends_included_and_no_other(store: CheckoutStore) -> None:
    put_charges(store, 4.99, 5, 7, 10, 10.01)

    done = invalidate_delivery(store, "5", "10.0", agreed=always)

    assert (done.done, done.count) == (True, 3)
    served = [look_at_delivery(store, text, "20").served for text in ("4.99", "5", "7", "10", "10.01")]
    assert served == [True, False, False, False, True]


def test_an_open_range_goes_to_the_end(store: CheckoutStore) -> None:
    put_charges(store, 1, 50)
    invalidate_delivery(store, "20", None, agreed=always)
    assert [look_at_delivery(store, text, "20").served for text in ("1", "50")] == [True, False]
    invalidate_delivery(store, None, "20", agreed=always)
    assert not look_at_delivery(store, "1", "20").served


@pytest.mark.parametrize(("low", "high"), [("10", "5"), ("-1", None), (None, "NaN"), ("", "5")])
def test_what_is_no_range_invalidates_nothing(low: str | None, high: str | None, store: CheckoutStore) -> None:
    put_charges(store, 5)

    with pytest.raises(InvalidInput):
        invalidate_delivery(store, low, high, agreed=always)
    assert look_at_delivery(store, "5", "20").served


def test_one_coupon_is_invalidated_and_the_others_are_not(store: CheckoutStore) -> None:
    put_coupon(store, "ONE")
    put_coupon(store, "TWO")

    done = invalidate_coupons(store, "one", agreed=always)

    assert (done.done, done.count, done.scope) == (True, 1, "ONE")
    assert not look_at_coupon(store, "ONE").served
    assert look_at_coupon(store, "TWO").served
    invalidate_coupons(store, None, agreed=always)
    assert not look_at_coupon(store, "TWO").served


def test_what_is_put_after_an_invalidation_is_served(store: CheckoutStore) -> None:
    put_charges(store, 5)
    invalidate_delivery(store, None, None, agreed=always)
    put_charges(store, 5)

    assert look_at_delivery(store, "5", "20").served


def test_a_user_who_may_not_scan_can_still_invalidate(
    settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-scan")
    with CheckoutStore.open(dataclasses.replace(settings, redis_port=server.port)) as opened:
        put_charges(opened, 5)
        done = invalidate_delivery(opened, None, None, agreed=always)

        assert (done.done, done.count, done.exact) == (True, None, False)
        assert not look_at_delivery(opened, "5", "20").served
        with pytest.raises(AccessDenied):  # the control
            list_entries(opened, "delivery", limit=5, cursor="0")


# A cluster


def test_a_cluster_is_listed_by_the_cursor_and_invalidated_as_one(cluster: Cluster, settings: Settings) -> None:
    nodes = ",".join(f"{HOST}:{server.port}" for server in cluster.primaries[1:])
    one = dataclasses.replace(
        settings, redis_mode="cluster", redis_port=cluster.primaries[0].port, redis_cluster_nodes=nodes
    )
    with CheckoutStore.open(one) as store:
        put_charges(store, *range(12))
        found: set[str] = set()
        cursor: str | None = "0"
        while cursor is not None:
            listing = list_entries(store, "delivery", limit=1, cursor=cursor)
            found.update(entry.names[0] for entry in listing.found.values())
            cursor = listing.cursor
        done = invalidate_delivery(store, "6", None, agreed=always)

        assert found == {str(distance) for distance in range(12)}
        assert (done.count, done.exact) == (6, False)  # a server that is away would not be missed
        assert [look_at_delivery(store, str(distance), "20").served for distance in (0, 5, 6, 11)] == [
            True, True, False, False,
        ]  # fmt: skip


# Redis away


def test_without_redis_every_command_says_so(away: CheckoutStore) -> None:
    def agreed(_asked: object) -> bool:
        pytest.fail("asked for consent to what cannot be done")

    for call in (
        lambda: look_at_delivery(away, "5", "20"),
        lambda: look_at_coupon(away, "X"),
        lambda: list_entries(away, "delivery", limit=5, cursor="0"),
        lambda: list_entries(away, "coupon", limit=5, cursor="0"),
        lambda: replace_delivery(away, "5", "20", b"1", agreed=agreed),
        lambda: replace_coupon(away, "X", b"{}", b'{"valid": true}', agreed=agreed),
        lambda: invalidate_delivery(away, None, None, agreed=agreed),
        lambda: invalidate_coupons(away, "X", agreed=agreed),
    ):
        with pytest.raises(RedisUnavailable):
            call()

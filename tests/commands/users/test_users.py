from __future__ import annotations

from dataclasses import replace

import pytest

from checkout_cli.commands.users import users
from checkout_cli.commands.users.users import list_users, show_user
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ExitCode, InvalidInput, RedisUnavailable, UserNotFound
from checkout_cli.jobs import key_scan
from checkout_cli.keys import user_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import make_store

UUID = "4645c59d-c428-4017-af90-a43ee2787c34"


def track(store: CheckoutStore, *user_ids: str) -> None:
    """Users in the shortest form that is one."""
    for user_id in user_ids:
        store.redis.ask(("HSET", user_key(user_id), "firstSeen", "2026-11-23T00:10:00.000Z"))


def test_a_list_goes_on_at_its_cursor_until_every_user_was_seen(store: CheckoutStore) -> None:
    wanted = {f"user-{number}" for number in range(100)}
    track(store, *wanted)
    found: set[str] = set()
    cursor: str | None = "0"
    pages = 0
    while cursor is not None:
        page = list_users(store, limit=10, cursor=cursor)
        found |= set(page.found)
        cursor = page.cursor
        pages += 1
    assert found == wanted
    assert pages > 3


def test_users_are_found_among_many_other_keys_and_the_look_is_bounded(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [part for number in range(5000) for part in (f"other:{number}", "x")]
    store.redis.ask(("MSET", *names))
    track(store, "user-1")
    found = list_users(store, limit=50)
    assert list(found.found) == ["user-1"]
    assert found.cursor is None
    monkeypatch.setattr(key_scan, "MOST_KEYS", 500)
    bounded = list_users(store, limit=50)
    assert bounded.cursor is not None
    assert bounded.looked_at < 5000


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, str(2**64), "٣", "0\n"])
def test_what_is_no_cursor_is_refused(store: CheckoutStore, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        list_users(store, cursor=cursor)


def test_a_user_is_found_by_the_id_or_by_what_a_list_shows_of_it(store: CheckoutStore) -> None:
    track(store, UUID, "99ab", "user:7:eu", "u-1")
    for given in (UUID, UUID[:8], UUID[:4], UUID[:4] + "…"):
        assert show_user(store, given).user.user_id == UUID
    assert show_user(store, "user:7:eu").user.user_id == "user:7:eu"
    assert show_user(store, "u-1").user.user_id == "u-1"  # a whole id may be short


def test_a_whole_id_wins_over_the_longer_ones_that_begin_so(store: CheckoutStore) -> None:
    track(store, "user-1", "user-10", "user-11")
    assert show_user(store, "user-1").user.user_id == "user-1"


def test_a_beginning_that_several_share_is_refused_without_naming_them(store: CheckoutStore) -> None:
    track(store, "user-10", "user-11")
    with pytest.raises(InvalidInput, match="several") as caught:
        show_user(store, "user")
    assert "user-1" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("given", ["", "x", "abc", "…", "x" * 600])
def test_what_can_be_no_beginning_is_refused(store: CheckoutStore, given: str) -> None:
    with pytest.raises(InvalidInput):
        show_user(store, given)


def test_who_is_not_tracked_is_not_found_and_who_never_would_be_is_told_why(store: CheckoutStore) -> None:
    track(store, UUID)
    with pytest.raises(UserNotFound) as caught:
        show_user(store, "nobody-1")
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    assert caught.value.hint == "checkoutctl users list"
    for given in ("ada@example.com", "9876543210", "46*"):
        with pytest.raises(UserNotFound, match="tracked") as caught:
            show_user(store, given) if len(given) > 3 else show_user(store, given + "**")
        assert "never tracked" in caught.value.hint


def test_too_many_keys_to_look_through_are_said_to_be_so(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.redis.ask(("MSET", *[part for number in range(5000) for part in (f"other:{number}", "x")]))
    monkeypatch.setattr(users, "MOST_STEPS", 1)
    with pytest.raises(InvalidInput, match="too many"):
        show_user(store, "nobody-1")


def test_while_redis_is_away_users_are_not_known(settings: Settings) -> None:
    for ask in (list_users, lambda store: show_user(store, UUID)):
        with make_store(replace(settings, redis_port=1)) as store, pytest.raises(RedisUnavailable, match="Redis alone"):
            ask(store)


def test_it_says_whether_users_are_tracked_by_these_settings(settings: Settings, store: CheckoutStore) -> None:
    assert list_users(store).enabled
    for off in ({"enable_user_sessions": False}, {"enable_checkout_sessions": False}):
        with make_store(replace(settings, **off)) as other:
            assert not list_users(other).enabled

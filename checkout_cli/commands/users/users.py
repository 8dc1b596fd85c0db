"""Tracked users, which only Redis has: who was seen lately, and one user's checkouts. Nothing is extended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from checkout_cli.domain.users import LARGEST_STEP, User, Users
from checkout_cli.errors import ExitCode, InvalidInput, RedisUnavailable, UserNotFound
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.jobs.key_scan import KeyScan, scan
from checkout_cli.store.bookkeeping import tracked_id
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR

MOST_STEPS = 1000
"""How many thousand keys are looked at for the beginning of an id."""
SHORTEST_BEGINNING = 4
LONGEST_GIVEN = 512


@dataclass(frozen=True)
class FoundUser:
    """``now`` is in milliseconds."""

    user: User
    now: int
    enabled: bool

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.user.problem is None else ExitCode.FINDING

    @property
    def next_step(self) -> str:
        return "checkoutctl doctor --only privacy"


def list_users(
    store: CheckoutStore, run: BoundedRun | None = None, *, limit: int = 50, cursor: str = FIRST_CURSOR
) -> KeyScan[User]:
    """Users by id, in no order; raises as :func:`scan` does, and RedisUnavailable."""
    reader = Users(store)

    def page(position: str, step: int) -> tuple[dict[str, User], str | None]:
        found = reader.page(position, step)
        return {user.user_id: user for user in found.users}, found.cursor

    users = KeyScan[User](enabled=_is_enabled(store))
    try:
        return scan(store, run or BoundedRun(store.clock), users, page, limit=limit, cursor=cursor)
    except RedisUnavailable as away:
        _not_known(away)


def show_user(store: CheckoutStore, given: str) -> FoundUser:
    """The user with this id, or the only one that begins so; raises InvalidInput, UserNotFound, RedisUnavailable."""
    if not 0 < len(given) <= LONGEST_GIVEN:
        raise InvalidInput("not a user id", hint="the id, or its beginning")
    reader = Users(store)
    try:
        user = reader.get(given) or _by_beginning(reader, given.removesuffix("…"))
    except RedisUnavailable as away:
        _not_known(away)
    return FoundUser(user, store.clock.wall(), _is_enabled(store))


def _by_beginning(reader: Users, beginning: str) -> User:
    if len(beginning) < SHORTEST_BEGINNING:
        raise InvalidInput(
            "no user has this id, and it is too short for the beginning of one",
            hint=f"give at least {SHORTEST_BEGINNING} characters",
        )
    ids, all_seen = reader.matching(beginning, 2, MOST_STEPS)
    if len(ids) > 1:
        raise InvalidInput("several users' ids begin so", hint="give more of the id (checkoutctl users list --reveal)")
    if not all_seen:
        raise InvalidInput(
            f"Redis holds more than {MOST_STEPS * LARGEST_STEP:,} keys, too many to look for the beginning of an id",
            hint="give the whole id",
        )
    user = reader.get(ids[0]) if ids else None
    if user is None:
        never = "an id that may itself be personal data, such as an e-mail address or a phone number, is never tracked"
        hint = never if tracked_id(beginning) is None else None
        raise UserNotFound("nothing is tracked of such a user", hint=hint)
    return user


def _not_known(away: RedisUnavailable) -> NoReturn:
    raise RedisUnavailable(f"users are tracked in Redis alone, so nothing is known of them now: {away}") from away


def _is_enabled(store: CheckoutStore) -> bool:
    return store.settings.enable_user_sessions and store.settings.enable_checkout_sessions

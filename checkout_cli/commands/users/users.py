"""Tracked users: who was seen lately, and one user's checkouts.

Only Redis has them. Nothing here writes or extends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from checkout_cli.domain.users import FIRST_CURSOR, LARGEST_STEP, User, Users
from checkout_cli.errors import ExitCode, InvalidInput, RedisUnavailable, UserNotFound
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.servers.per_server import Partial
from checkout_cli.store.bookkeeping import tracked_id
from checkout_cli.store.checkout_store import CheckoutStore

MOST_KEYS = 100_000
"""How many keys a list looks at, so that it is bounded however much else is in Redis."""
MOST_STEPS = 1000
"""How many thousand keys are looked at for the beginning of an id."""
SHORTEST_BEGINNING = 4
LONGEST_GIVEN = 512

_SMALLEST_STEP = 10


@dataclass(frozen=True)
class UserList(Partial):
    """Users at ``now`` (ms), after about ``looked_at`` keys; ``cursor`` continues the list, ``None`` at its end.

    Not ``enabled`` where the settings switch tracking off.
    """

    SHOWN = "nextCursor=cursor lookedAt partial missingServers=missing"

    users: tuple[User, ...]
    cursor: str | None
    looked_at: int
    now: int
    enabled: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundUser:
    """``now`` is in milliseconds."""

    user: User
    now: int
    enabled: bool

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.user.problem is None else ExitCode.FINDING


def list_users(store: CheckoutStore, *, limit: int = 50, cursor: str = FIRST_CURSOR) -> UserList:
    """Users in no order, at least ``limit`` if there are so many: the last scan step may add some.

    Raises InvalidInput for a bad cursor, RedisUnavailable.
    """
    if limit < 1:
        raise InvalidInput("a list of no users", hint="--limit 50")
    users, following, looked_at = {}, checked_cursor(cursor), 0
    step = min(max(limit, _SMALLEST_STEP), LARGEST_STEP)
    reader = Users(store)
    try:
        while looked_at < MOST_KEYS:
            page = reader.page(following, step)
            looked_at += step
            users.update({user.user_id: user for user in page.users})
            if page.cursor is None or len(users) >= limit:
                break
            following = page.cursor
            step = LARGEST_STEP if not page.users else step  # among a million sessions, users are far between
    except RedisUnavailable as away:
        _not_known(away)
    now, missing = store.clock.wall(), tuple(store.redis.missing_servers())
    return UserList(tuple(users.values()), page.cursor, looked_at, now, _is_enabled(store), missing)


def show_user(store: CheckoutStore, given: str) -> FoundUser:
    """The user with this id, or the only one whose id begins so; a final ``…`` is ignored.

    Raises InvalidInput for several or a short beginning, UserNotFound, RedisUnavailable.
    """
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
        raise UserNotFound("nothing is tracked of such a user", hint=_why_not(beginning))
    return user


def _why_not(given: str) -> str | None:
    if tracked_id(given) is None:
        return "an id that may itself be personal data, such as an e-mail address or a phone number, is never tracked"
    return None


def _not_known(away: RedisUnavailable) -> NoReturn:
    raise RedisUnavailable(f"users are tracked in Redis alone, so nothing is known of them now: {away}") from away


def _is_enabled(store: CheckoutStore) -> bool:
    return store.settings.enable_user_sessions and store.settings.enable_checkout_sessions

"""Finding one session by its id, or by the beginning of an id that no other shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from checkout_cli.errors import (
    AccessDenied,
    DurabilityUnavailable,
    InvalidInput,
    RedisUnavailable,
    SessionDeleted,
    SessionExpired,
    SessionNotFound,
    TierUnavailable,
)
from checkout_cli.keys import is_accepted_id
from checkout_cli.privacy.personal_ids import is_personal, named
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Sighting

SHORTEST_PREFIX = 4
MOST_CANDIDATES = 10
"""How many ids are named when the beginning of an id fits several."""
_SHOWN_ID = 64
REVEALING = "checkoutctl sessions list --reveal"
"""Shows ids that a hint must not name."""

T = TypeVar("T")
Tell = Callable[[str], None]
"""Called with one line for a person about what could not be done as usual."""


def find(store: CheckoutStore, given: str, *, tell: Tell = lambda _: None, ended: bool = False) -> Sighting:
    """The session of an id, or the only one that begins so; with ``ended`` also the row of an expired one.

    Raises InvalidInput, a kind of SessionNotFound, TierUnavailable.
    """
    inspect = partial(store.admin.inspect, ended=True) if ended else store.admin.inspect
    sighting = _exactly(store, given, inspect) or inspect(only_match(store, given))
    if sighting.tier is TierName.DATABASE and store.redis.breaker.is_open:
        tell("Redis is away; this is the database's copy")
    return sighting


def written(store: CheckoutStore, given: str, write: Callable[[str], T]) -> T:
    """What ``write`` returns for an id, or where there is no such session, for the only one that begins so.

    A whole id costs nothing more. Raises as ``write`` does, and InvalidInput where several begin so.
    """
    try:
        return write(given)
    except (SessionExpired, SessionDeleted):
        raise
    except (SessionNotFound, TierUnavailable, DurabilityUnavailable, InvalidInput) as refusal:
        if isinstance(refusal, InvalidInput) and (is_accepted_id(given) or not is_beginning(given)):
            raise
        try:
            checkout_id = only_match(store, given)
        except SessionNotFound as unknown:
            raise (unknown if isinstance(refusal, SessionNotFound) else refusal) from None
        except (TierUnavailable, AccessDenied):
            raise refusal from None
        if checkout_id == given:
            raise
    return write(checkout_id)


def is_beginning(text: str) -> bool:
    """Whether an id that we would write can begin so."""
    return is_accepted_id(text.ljust(8, "0"))


def _exactly(store: CheckoutStore, checkout_id: str, inspect: Callable[[str], Sighting]) -> Sighting | None:
    try:
        return inspect(checkout_id) if checkout_id else None
    except (SessionExpired, SessionDeleted):
        raise
    except SessionNotFound:
        return None
    except TierUnavailable:
        with suppress(TierUnavailable, AccessDenied):  # the first refusal says more
            if len(checkout_id) >= SHORTEST_PREFIX and store.admin.matching(checkout_id, 1):
                return None  # it is the beginning of an id that another tier knows
        raise


def only_match(store: CheckoutStore, prefix: str, *, ended: bool = False) -> str:
    """The only id that begins so, of the living sessions, or where there are none, of those that have ended.

    With ``ended``, all count alike. Raises InvalidInput for several or a short beginning, else SessionNotFound.
    """
    if len(prefix) < SHORTEST_PREFIX:
        raise InvalidInput(
            f"no session {named(prefix)!r}, and too short for the beginning of an id",
            hint=f"give at least {SHORTEST_PREFIX} characters",
        )
    most = MOST_CANDIDATES + 1
    ids = [] if ended else _living_among(store, store.admin.matching(prefix, most))
    return the_only(prefix, ids or store.admin.known(prefix, most))


def the_only(prefix: str, ids: Sequence[str]) -> str:
    """The one of ``ids``, which all begin so; raises InvalidInput with the candidates, or SessionNotFound."""
    shown = named(prefix) if len(prefix) <= _SHOWN_ID else named(prefix[:_SHOWN_ID]) + "…"
    if not ids:
        raise SessionNotFound(f"no session is, or begins with, {shown!r}")
    if len(ids) > 1:
        number = "more than " + str(MOST_CANDIDATES) if len(ids) > MOST_CANDIDATES else str(len(ids))
        raise InvalidInput(
            f"{number} sessions begin with {shown!r}: {', '.join(map(named, ids[:MOST_CANDIDATES]))}",
            hint=REVEALING if any(map(is_personal, ids)) else "give more of the id",
        )
    return ids[0]


def _living_among(store: CheckoutStore, ids: list[str]) -> list[str]:
    """Without those that have expired, if any of so few is alive, and Redis can tell."""
    if not 1 < len(ids) <= MOST_CANDIDATES:
        return ids
    with suppress(RedisUnavailable):
        return [sighting.checkout_id for sighting in store.admin.inspect_all(ids)] or ids
    return ids

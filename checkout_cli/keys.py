"""The Redis keys of the specification, all patterns in one place."""

from __future__ import annotations

import re
from enum import StrEnum

from checkout_cli.errors import InvalidInput
from checkout_cli.privacy.card_data import without_card_number
from checkout_cli.privacy.personal_ids import named

SESSION_PREFIX = "checkout:session:"
INDEX = "checkout:index"
INDEX_BESIDE = "checkout:expiry:{checkout:index}"
"""The key of our index while something else is at ``INDEX``; in the same slot, so that a cluster can rename it."""
INDEX_ASIDE = "checkout:legacy:{checkout:index}"
"""The key of an older program's SET while an adoption moves its last members into our index; in the same slot too."""
LEGACY_STATS = "checkout:stats"
"""The hash of counters that the shop's older programs keep; read, never written."""
PENDING = "checkout:pending"
"""A SET of the ids of sessions that were written to Redis while the database was unavailable."""
CLAIM_PREFIX = "checkout:claim:"
"""Claims to fill a session's key, in the slot of that key: the key itself stays missing for every program."""
LOCK_PREFIX = "checkout:lock:"
JOB_PREFIX = "checkout:job:"
"""When a job such as the clean-up ran last."""

DELIVERY_PREFIX = "delivery:cache:"
DELIVERY_GENERATION = "delivery:cache::generation"
"""What was invalidated of the delivery cache; two colons, so that it is no entry's key."""
COUPON_PREFIX = "coupon:cache:"
COUPON_GENERATION = "coupon:cache::generation"
"""The same for coupons."""
USER_PREFIX = "user:session:"
MINUTE_PREFIX = "stats:minute:"

LONGEST_ID = 1024
"""Characters of an id of another program that is still looked for."""
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9_-]{8,128}")


def session_key(checkout_id: str) -> str:
    """The key of a session. The id is used as it is: foreign ids that are in Redis already must stay reachable."""
    return SESSION_PREFIX + checkout_id


def checkout_id_of(session_key: str) -> str:
    return session_key.removeprefix(SESSION_PREFIX)


def claim_key(checkout_id: str) -> str:
    """The key of the claim to fill a session's key; the braces put it into the same slot of a cluster."""
    return f"{CLAIM_PREFIX}{{{session_key(checkout_id)}}}"


def lock_key(job: str) -> str:
    return LOCK_PREFIX + job


def heartbeat_key(job: str) -> str:
    return JOB_PREFIX + job


def delivery_key(distance: str, value: str) -> str:
    """The key of a cached delivery charge; both parts are normalised."""
    return f"{DELIVERY_PREFIX}{distance}:{value}"


def coupon_key(code: str) -> str:
    """The key of a cached coupon; the code is normalised."""
    return COUPON_PREFIX + code


def user_key(user_id: str) -> str:
    return USER_PREFIX + user_id


def minute_key(minute: int) -> str:
    """The key of one minute's statistics; ``minute`` counts from the epoch."""
    return f"{MINUTE_PREFIX}{minute}"


def tiers_key(minute: int) -> str:
    """The key of the reads and writes of one minute by tier: of its own, as plain commands count them."""
    return f"{MINUTE_PREFIX}tiers:{minute}"


class Family(StrEnum):
    """What a key is for; ``ours`` are those that we add, ``other`` those that are no checkout's."""

    SESSIONS = "sessions"
    INDEX = "index"
    DELIVERY = "delivery"
    COUPON = "coupon"
    USERS = "users"
    STATS = "stats"
    OURS = "ours"
    OTHER = "other"


_FAMILIES = (
    (SESSION_PREFIX, Family.SESSIONS),
    (INDEX, Family.INDEX),
    (INDEX_BESIDE, Family.INDEX),
    (INDEX_ASIDE, Family.INDEX),
    (DELIVERY_PREFIX, Family.DELIVERY),
    (COUPON_PREFIX, Family.COUPON),
    (USER_PREFIX, Family.USERS),
    (LEGACY_STATS, Family.STATS),
    ("stats:", Family.STATS),
    ("checkout:", Family.OURS),
)
_FAMILIES_IN_BYTES = tuple((beginning.encode(), family) for beginning, family in _FAMILIES)


def family_of(key: bytes) -> Family:
    for beginning, family in _FAMILIES_IN_BYTES:
        if key.startswith(beginning):
            return family
    return Family.OTHER


def pattern_of(beginning: str) -> str:
    """The pattern for SCAN of all keys that begin so, special characters escaped."""
    return "".join(f"\\{character}" if character in r"*?[]\^" else character for character in beginning) + "*"


def is_accepted_id(checkout_id: object) -> bool:
    """Whether an id is one that we would create or write."""
    return isinstance(checkout_id, str) and _ACCEPTED_ID.fullmatch(checkout_id) is not None


def possible_id(checkout_id: object) -> str:
    """The id, or ``InvalidInput`` before any I/O where no program at all can have written a session by it."""
    if not isinstance(checkout_id, str) or len(checkout_id) > LONGEST_ID or not checkout_id:
        raise _no_id(checkout_id)
    try:
        checkout_id.encode("utf-8", "surrogateescape")  # as keys are that are no UTF-8
    except UnicodeEncodeError:
        raise _no_id(checkout_id) from None
    return checkout_id


def beginning_of_ids(text: object) -> bool:
    """Whether an id that we would create can begin so."""
    return isinstance(text, str) and is_accepted_id(text.ljust(8, "0"))


def accepted_id(checkout_id: str) -> str:
    """The id, or ``InvalidInput`` before any I/O where we would not create or write it.

    ``fullmatch`` and ASCII classes on purpose: ``$`` would let a trailing newline pass, ``\\w`` Arabic digits.
    """
    if not is_accepted_id(checkout_id):
        raise _no_id(checkout_id)
    return checkout_id


def _no_id(given: object) -> InvalidInput:
    shown = (
        repr(named(without_card_number(given[:200])[:64])) if isinstance(given, str) else f"a {type(given).__name__}"
    )
    hint = "an id is 8 to 128 letters, digits, '-' or '_', such as a UUID"
    return InvalidInput(f"not a checkout id: {shown}", hint=hint)

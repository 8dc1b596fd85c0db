"""Keys for output: a session's id is a secret, and any other name can be an address."""

from __future__ import annotations

from checkout_cli.keys import (
    CLAIM_PREFIX,
    COUPON_PREFIX,
    DELIVERY_PREFIX,
    INDEX,
    INDEX_ASIDE,
    INDEX_BESIDE,
    LEGACY_STATS,
    LOCK_PREFIX,
    MINUTE_PREFIX,
    PENDING,
    SESSION_PREFIX,
    USER_PREFIX,
)
from checkout_cli.privacy.card_numbers import holds_card_number
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.store.redis.commands import decoded
from checkout_cli.terminal.masking import MASKED, value_shown
from checkout_cli.terminal.safe import safe

_NO_SECRETS = frozenset({INDEX, INDEX_BESIDE, INDEX_ASIDE, LEGACY_STATS, PENDING})
_NO_SECRETS_BEHIND = (DELIVERY_PREFIX, COUPON_PREFIX, LOCK_PREFIX, MINUTE_PREFIX)
_CLAIM = f"{CLAIM_PREFIX}{{"
_CLAIM_OF_SESSION = _CLAIM + SESSION_PREFIX
_SESSION_ID_SHOWN = 8
_LONGEST_PREFIX = 32


def key_shown(key: bytes, *, reveal: bool = False) -> str:
    """A key, cut after the beginning of an id or of anything unknown, unless revealed."""
    name = decoded(key)
    if reveal or name in _NO_SECRETS or (name.startswith(_NO_SECRETS_BEHIND) and _is_harmless(name)):
        return safe(name)
    if name.startswith(_CLAIM_OF_SESSION):
        return f"{CLAIM_PREFIX}{{{key_shown(key[len(_CLAIM) :].removesuffix(b'}'))}}}"
    if name.startswith(SESSION_PREFIX):
        checkout_id = name.removeprefix(SESSION_PREFIX)
        if is_personal(checkout_id):  # much of it would be within the beginning of an id
            return f"{SESSION_PREFIX}{MASKED}"
        return safe(f"{SESSION_PREFIX}{checkout_id[:_SESSION_ID_SHOWN]}…")
    prefix = USER_PREFIX if name.startswith(USER_PREFIX) else _prefix(name)
    return safe(f"{prefix}{value_shown('userId', {'userId': name.removeprefix(prefix)})}")


def _is_harmless(name: str) -> bool:
    """Whether a shop's key holds no shopper's data: a typed coupon code can be anything."""
    return not is_personal(name) and not holds_card_number(name)


def _prefix(name: str) -> str:
    """The part before the first colon, where it looks like the name of a kind of keys."""
    beginning, colon, _ = name.partition(":")
    return f"{beginning}:" if colon and beginning.isidentifier() and len(beginning) <= _LONGEST_PREFIX else ""

"""Results of coupon validations, cached for minutes (``coupon:cache:{code}``)."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from checkout_cli.domain.cache import Cache, check_json, plain_json
from checkout_cli.domain.entries import CacheEntry
from checkout_cli.errors import InvalidInput
from checkout_cli.keys import COUPON_GENERATION, COUPON_PREFIX, coupon_key
from checkout_cli.privacy.card_data import without_card_number
from checkout_cli.privacy.card_numbers import holds_card_number
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import check_fields
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import encoded

LONGEST_CODE = 64
MARKS = frozenset("-_.+%&@#!$")
"""Characters of a code beside letters and digits."""


class Coupons(Cache):
    """The cache of coupons. Thread-safe; make one per process, beside its store."""

    name = "coupon"
    prefix = COUPON_PREFIX
    generation_key = COUPON_GENERATION
    most_answers = 16

    def __init__(self, store: CheckoutStore, **options: Any) -> None:
        """``options`` are those of :class:`Cache`, for tests."""
        settings = store.settings
        self._ttl, self._invalid_ttl = settings.coupon_ttl, settings.coupon_invalid_ttl
        longest = max(self._ttl, self._invalid_ttl)
        super().__init__(store, enabled=settings.enable_coupon_cache, longest=longest, **options)

    def validate(
        self, code: str, context: Mapping[str, Any], compute: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The result of ``compute(code, context)`` for a coupon: an object with a boolean ``valid``.

        The code is given in upper case: codes that differ in case alone are one coupon. The answer is cached as it is
        (leave personal data out of it) for this very context, such as the basket's value, of which only a digest is
        stored. Raises ``InvalidInput`` where code, context or result is unfit, and whatever ``compute`` raises; nothing
        is cached then.
        """
        known = normalised(code)
        answer: dict[str, Any] = self._fetch(coupon_key(known), self.digest(context), lambda: compute(known, context))
        return answer

    def put(self, code: str, context: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Cache an answer for everybody with this context; after a time-out (``RedisUnavailable``) it may be cached."""
        self._put(self.key(code), self.digest(context), answer)

    def look(self, code: str) -> CacheEntry | None:
        """The entry of a coupon, for an operator; raises as :meth:`put`."""
        found = self.look_at_all([encoded(self.key(code))])
        return found[0] if found else None

    def invalidate(self, code: str) -> None:
        """As ``invalidate_all``, for one coupon; ``InvalidInput`` for an impossible code."""
        self._invalidate(normalised(code))

    def key(self, code: str) -> str:
        """The key of a coupon; ``InvalidInput`` for an impossible code."""
        return coupon_key(normalised(code))

    def digest(self, context: Mapping[str, Any]) -> str:
        """SHA-256 of a context's JSON, names sorted; ``InvalidInput`` where it is no JSON object."""
        if not isinstance(context, Mapping):
            raise InvalidInput("the context is no JSON object", hint='such as {"subtotal": 24.5}')
        plain = plain_json(context)
        check_fields({"context": plain})
        text = json.dumps(_whole(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def covers(self, scope: str, names: Sequence[str]) -> bool:
        return scope == names[0]

    def names_of(self, key: str) -> tuple[str, ...]:
        return (key.removeprefix(self.prefix),)

    def check(self, value: Any) -> None:
        check_json(value, "the answer")
        if not isinstance(value, dict) or not isinstance(value.get("valid"), bool):
            raise InvalidInput('the answer needs a boolean "valid"', hint='such as {"valid": true, "discount": 5}')

    def lifetime(self, value: Any) -> float:
        """Longer for a valid coupon: a refused one may be corrected soon."""
        return self._ttl if value["valid"] else self._invalid_ttl


def _whole(value: Any) -> Any:
    """The same JSON with whole numbers as integers: 50.0 and 50 are one context."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def normalised(code: object) -> str:
    """A code as in its key; ``InvalidInput`` for an impossible one."""
    if isinstance(code, str) and len(code) <= LONGEST_CODE and not holds_card_number(code):
        known = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", code).upper())
        if 0 < len(known) <= LONGEST_CODE and all(mark.isalnum() or mark in MARKS for mark in known):
            return known
    raise InvalidInput(
        f"not a coupon code: {named(without_card_number(str(code)[:LONGEST_CODE]))!r}",
        hint=f"1 to {LONGEST_CODE} letters, digits, and {' '.join(sorted(MARKS))}",
    )

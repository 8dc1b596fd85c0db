"""Delivery charges by distance and order value, cached for minutes (``delivery:cache:{distance}:{value}``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any

from checkout_cli.domain.cache import Cache, check_json
from checkout_cli.domain.entries import CacheEntry
from checkout_cli.errors import InvalidInput
from checkout_cli.keys import DELIVERY_GENERATION, DELIVERY_PREFIX, delivery_key
from checkout_cli.privacy.card_data import without_card_number
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import encoded

Number = int | float | Decimal | str

FARTHEST = Decimal(20_100)
"""Kilometres: no two places on earth are farther apart."""
DEAREST = Decimal(10**9)

_EXACT = Context(prec=60)
"""Whatever context the caller computes in, a key is rounded in this one."""
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")


class DeliveryCharges(Cache):
    """The cache of delivery charges. Thread-safe; make one per process, beside the store that it is built on."""

    name = "delivery"
    prefix = DELIVERY_PREFIX
    generation_key = DELIVERY_GENERATION

    def __init__(self, store: CheckoutStore, **options: Any) -> None:
        """``options`` are those of :class:`Cache`, for tests."""
        settings = store.settings
        super().__init__(store, enabled=settings.enable_delivery_cache, longest=settings.delivery_ttl, **options)
        self._ttl = settings.delivery_ttl
        self._step = Decimal(1).scaleb(-settings.delivery_decimals)

    def charge(self, distance_km: Number, order_value: Number, compute: Callable[[Decimal, Decimal], Any]) -> Any:
        """The charge for a distance and an order value, computed if it is not cached.

        Both are rounded to the decimals that the price depends on (``CHECKOUT_DELIVERY_DECIMALS``), and ``compute`` is
        given the rounded ones, so that a cached charge is exactly what would be computed for its key. Returns the
        charge as JSON has it.

        Raises:
            InvalidInput: a number is none, negative or absurd, or ``compute`` returned no JSON; nothing is cached.
            Exception: whatever ``compute`` raises; nothing is cached.
        """
        distance, value = self._distance(distance_km), self._value(order_value)
        return self._fetch(delivery_key(distance, value), None, lambda: compute(Decimal(distance), Decimal(value)))

    def put(self, distance_km: Number, order_value: Number, charge: Any) -> None:
        """Cache a charge for everybody.

        Raises:
            InvalidInput: a number or the charge is none.
            RedisUnavailable, AccessDenied: it is not cached, or with a time-out it may be.
        """
        self._put(self.key(distance_km, order_value), None, charge)

    def look(self, distance_km: Number, order_value: Number) -> CacheEntry | None:
        """What lies at the key, for an operator; ``None`` where nothing does. Raises as :meth:`put` does."""
        found = self.look_at_all([encoded(self.key(distance_km, order_value))])
        return found[0] if found else None

    def invalidate_range(self, low: Number, high: Number) -> None:
        """The same as ``invalidate_all``, for the distances (km) of a range, both ends included.

        Raises:
            InvalidInput: one is no distance, or the range is empty.
            RedisUnavailable, AccessDenied: the other processes cannot be told: it must be repeated.
        """
        self._invalidate(" ".join(self.range(low, high)))

    # Keys

    def key(self, distance_km: Number, order_value: Number) -> str:
        """The key of a charge.

        Raises:
            InvalidInput: a number is none, negative or absurd.
        """
        return delivery_key(self._distance(distance_km), self._value(order_value))

    def range(self, low: Number | None, high: Number | None) -> tuple[str, str]:
        """Two distances as the keys have them; ``None`` for no bound.

        Raises:
            InvalidInput: one is no distance, or the range is empty.
        """
        first = self._distance(0 if low is None else low)
        last = self._distance(FARTHEST if high is None else high)
        if Decimal(first) > Decimal(last):
            raise InvalidInput(f"no distance is from {first} to {last} km", hint="the smaller one first")
        return first, last

    def in_range(self, key: str, low: str, high: str) -> bool:
        """Whether a key is of a distance between the two."""
        return self.covers(f"{low} {high}", self.names_of(key))

    def covers(self, scope: str, names: Sequence[str]) -> bool:
        """Whether the distance lies in the range."""
        low, _, high = scope.partition(" ")
        try:
            return Decimal(low) <= Decimal(names[0]) <= Decimal(high)
        except InvalidOperation:  # another program's key
            return False

    def check(self, value: Any) -> None:
        """Refuse what is no JSON."""
        check_json(value, "the delivery charge")

    def lifetime(self, value: Any) -> float:  # noqa: ARG002  (a charge is a charge)
        """Five minutes, or what the setting says."""
        return self._ttl

    def _distance(self, given: Number) -> str:
        return self._normalised(given, FARTHEST, "distance", "km")

    def _value(self, given: Number) -> str:
        return self._normalised(given, DEAREST, "order value", "")

    def _normalised(self, given: Number, most: Decimal, what: str, unit: str) -> str:
        """The number as it stands in a key: rounded, without an exponent or zeros at its end."""
        number = _number(given)
        if number is None or number < 0:
            shown = without_card_number(str(given)[:32])
            raise InvalidInput(f"not a {what}: {shown!r}", hint="a number from 0, such as 5.2")
        if number > most:
            raise InvalidInput(f"the {what} is more than {most:,f} {unit}".rstrip(), hint="check its unit")
        text = format(number.quantize(self._step, ROUND_HALF_EVEN, _EXACT), "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text).removeprefix("-")


def _number(given: object) -> Decimal | None:
    """A finite number, exactly as it was written; ``None`` for anything else."""
    if isinstance(given, bool):
        return None
    if isinstance(given, str):
        return Decimal(given) if len(given) <= 64 and _NUMBER.fullmatch(given.strip()) else None
    if isinstance(given, (int, float, Decimal)):
        if isinstance(given, int) and abs(given) > 2 * DEAREST:
            return DEAREST + 1  # whatever it is, it is too much: no need to write it out
        number = Decimal(float.__repr__(given)) if isinstance(given, float) else Decimal(given)
        return number if number.is_finite() else None
    return None

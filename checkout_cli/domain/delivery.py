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
"""The context for keys, whatever context the caller computes in."""
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")


class DeliveryCharges(Cache):
    """The cache of delivery charges. Thread-safe; make one per process, beside its store."""

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
        """The charge for a distance and an order value as JSON, computed where it is not cached.

        ``compute`` is given both rounded to the decimals that the price depends on (``CHECKOUT_DELIVERY_DECIMALS``).
        Raises ``InvalidInput`` where a number or the result is unfit, and whatever ``compute`` raises; nothing is
        cached then.
        """
        distance, value = self._distance(distance_km), self._value(order_value)
        return self._fetch(delivery_key(distance, value), None, lambda: compute(Decimal(distance), Decimal(value)))

    def put(self, distance_km: Number, order_value: Number, charge: Any) -> None:
        """Cache a charge for everybody; after a time-out (``RedisUnavailable``) it may be cached."""
        self._put(self.key(distance_km, order_value), None, charge)

    def look(self, distance_km: Number, order_value: Number) -> CacheEntry | None:
        """The entry of a charge, for an operator; raises as :meth:`put`."""
        found = self.look_at_all([encoded(self.key(distance_km, order_value))])
        return found[0] if found else None

    def invalidate_range(self, low: Number, high: Number) -> None:
        """As ``invalidate_all``, for the distances (km) of a range, ends included; ``InvalidInput`` if it is empty."""
        self._invalidate(" ".join(self.range(low, high)))

    # Keys

    def key(self, distance_km: Number, order_value: Number) -> str:
        """The key of a charge; ``InvalidInput`` where a number is negative or absurd."""
        return delivery_key(self._distance(distance_km), self._value(order_value))

    def range(self, low: Number | None, high: Number | None) -> tuple[str, str]:
        """Two distances as in keys, ``None`` meaning no bound; ``InvalidInput`` where the range is empty."""
        first = self._distance(0 if low is None else low)
        last = self._distance(FARTHEST if high is None else high)
        if Decimal(first) > Decimal(last):
            raise InvalidInput(f"no distance is from {first} to {last} km", hint="the smaller one first")
        return first, last

    def in_range(self, key: str, low: str, high: str) -> bool:
        return self.covers(f"{low} {high}", self.names_of(key))

    def covers(self, scope: str, names: Sequence[str]) -> bool:
        low, _, high = scope.partition(" ")
        try:
            return Decimal(low) <= Decimal(names[0]) <= Decimal(high)
        except InvalidOperation:  # another program's key
            return False

    def check(self, value: Any) -> None:
        check_json(value, "the delivery charge")

    def lifetime(self, value: Any) -> float:  # noqa: ARG002  (a charge is a charge)
        return self._ttl

    def _distance(self, given: Number) -> str:
        return self._normalised(given, FARTHEST, "distance", "km")

    def _value(self, given: Number) -> str:
        return self._normalised(given, DEAREST, "order value", "")

    def _normalised(self, given: Number, most: Decimal, what: str, unit: str) -> str:
        """The number as in a key: rounded, without an exponent or trailing zeros."""
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
            return DEAREST + 1  # too much, and Python refuses to write out the longest ones
        number = Decimal(float.__repr__(given)) if isinstance(given, float) else Decimal(given)
        return number if number.is_finite() else None
    return None

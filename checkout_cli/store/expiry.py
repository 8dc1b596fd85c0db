"""``expiresAt``, for external writers: they end a session at that moment, whatever the key's time to live says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from checkout_cli.errors import AccessDenied, RedisUnavailable
from checkout_cli.session import iso, milliseconds_of, with_expiry
from checkout_cli.store.clock import Clock
from checkout_cli.store.protocol.value import encode_value
from checkout_cli.store.redis_tier import Opened, RedisTier
from checkout_cli.store.versions import Versions

_log = logging.getLogger("checkout_cli.store")


class ExpiryField:
    """Keeps the field true in Redis. It is no part of a version: the same one is written, with another moment in it."""

    def __init__(self, redis: RedisTier, versions: Versions, clock: Clock) -> None:
        """``versions`` knows when a session that is used now expires."""
        self._redis = redis
        self._versions = versions
        self._clock = clock

    def renewed(self, checkout_id: str, opened: Opened, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a trusted value, with ``expiresAt`` moved where it is more than a tenth of the TTL behind."""
        known = milliseconds_of(fields.get("expiresAt"))
        ends_at = self._versions.expiry(milliseconds_of(fields.get("createdAt")) or self._clock.wall())
        if (
            known is None
            or ends_at - known <= self._versions.tenth_of_ttl
            or not self.move(checkout_id, opened, ends_at)
        ):
            return dict(fields)
        return {**fields, "expiresAt": iso(ends_at)}

    def move(self, checkout_id: str, opened: Opened, ends_at: int) -> bool:
        """Write a value of ours again with the moment (ms) at which it ends; false where others were faster."""
        value = opened.value
        if value is None or value.is_external:
            return False
        moved = msgspec.structs.replace(value, body=with_expiry(value.body, ends_at))
        if moved == value:
            return False
        try:
            return self._redis.swap(
                checkout_id, opened, encode_value(moved), now=self._clock.wall(), expires_at=ends_at, dirty=False
            ).done
        except (RedisUnavailable, AccessDenied) as error:
            _log.debug("expiresAt stays behind: %s", error)
            return False

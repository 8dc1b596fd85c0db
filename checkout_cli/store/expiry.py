"""``expiresAt``, for external writers: they end a session at that moment, whatever the key's TTL says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.errors import AccessDenied, RedisUnavailable
from checkout_cli.session import iso, milliseconds_of, with_expiry
from checkout_cli.store.protocol.value import encode_value
from checkout_cli.store.redis.opened import Opened, Replaced
from checkout_cli.store.redis.tier import RedisTier
from checkout_cli.store.versions import Versions

ATTEMPTS = 3
"""How often the field is moved again when a writer was faster."""

_log = logging.getLogger("checkout_cli.store")


@dataclass(eq=False)
class ExpiryField:
    """Keeps the field true in Redis: the same version is written with another moment in it."""

    redis: RedisTier
    versions: Versions
    clock: Clock

    def renewed(self, checkout_id: str, opened: Opened, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a trusted value, with ``expiresAt`` moved where it is more than a tenth of the TTL behind."""
        known = milliseconds_of(fields.get("expiresAt"))
        ends_at = self.versions.expiry(milliseconds_of(fields.get("createdAt")) or self.clock.wall())
        try:
            is_behind = known is not None and ends_at - known > self.versions.tenth_of_ttl
            if is_behind and self._move(checkout_id, opened, ends_at).done:
                return {**fields, "expiresAt": iso(ends_at)}
        except (RedisUnavailable, AccessDenied) as error:
            _log.debug("expiresAt stays behind: %s", error)
        return dict(fields)

    def extend(self, checkout_id: str, until: int) -> int:
        """Let a session live until a moment (ms) at least; returns the key's TTL (ms; -1: no end; -2: missing)."""
        identity = self.redis.identity(checkout_id)
        opened: Opened | None = None
        for _ in range(1 + ATTEMPTS):  # whoever writes meanwhile gives it the usual TTL
            now = self.clock.wall()
            ttl = self.redis.extend_ttl(checkout_id, until - now)
            if opened is None:
                (look,) = self.redis.look([checkout_id])
                opened = Opened(look.value, identity, value=look.copy)
            replaced = self._move(checkout_id, opened, max(until, now + ttl))
            if replaced.done or replaced.present is None:
                break
            opened = opened.now_with(replaced.present)
        return ttl

    def _move(self, checkout_id: str, opened: Opened, ends_at: int) -> Replaced:
        value = opened.value
        if value is None or value.is_external:
            return Replaced(done=True)
        moved = msgspec.structs.replace(value, body=with_expiry(value.body, ends_at))
        if moved == value:
            return Replaced(done=True)
        return self.redis.rewrite(checkout_id, opened, encode_value(moved))

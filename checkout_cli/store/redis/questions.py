"""Questions about many keys, to all of Redis or to one of its servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkout_cli.store.redis.commands import Command, pairs


class KeyQuestions:
    """Questions about many keys in one round trip; errors of single keys stay among the answers."""

    def replies(self, *commands: Command) -> list[Any]:
        """The replies to commands, errors among them as ``CheckoutError``."""
        raise NotImplementedError

    def _each(self, command: str, keys: Sequence[bytes | str], *arguments: str) -> list[Any]:
        return self.replies(*((command, key, *arguments) for key in keys)) if keys else []

    def ttls(self, keys: Sequence[bytes]) -> list[Any]:
        """TTLs (ms); -1: no end, -2: no key."""
        return self._each("PTTL", keys)

    def lengths(self, keys: Sequence[bytes]) -> list[Any]:
        """Bytes of strings; 0 for a missing key."""
        return self._each("STRLEN", keys)

    def measures(self, keys: Sequence[bytes]) -> list[tuple[Any, Any]]:
        """:meth:`ttls` and :meth:`lengths` at the same moment."""
        return self._both("PTTL", "STRLEN", keys)

    def kinds(self, keys: Sequence[bytes]) -> list[tuple[Any, Any]]:
        """The types of keys (``none``: missing) and their TTLs at the same moment."""
        return self._both("TYPE", "PTTL", keys)

    def _both(self, first: str, second: str, keys: Sequence[bytes]) -> list[tuple[Any, Any]]:
        return pairs(self.replies(*((command, key) for key in keys for command in (first, second))) if keys else [])

    def values(self, keys: Sequence[bytes | str]) -> list[Any]:
        """The values of strings."""
        return self._each("GET", keys)

    def hashes(self, keys: Sequence[bytes | str]) -> list[Any]:
        """The names and values of hashes, in turn."""
        return self._each("HGETALL", keys)

    def sorted_set_sizes(self, keys: Sequence[str]) -> list[Any]:
        """The sizes of sorted sets."""
        return self._each("ZCARD", keys)

    def fields(self, keys: Sequence[bytes], names: Sequence[str]) -> list[Any]:
        """Some fields of hashes."""
        return self._each("HMGET", keys, *names)

    def field_counts(self, keys: Sequence[bytes]) -> list[Any]:
        """The sizes of hashes."""
        return self._each("HLEN", keys)

    def field_names(self, keys: Sequence[bytes]) -> list[Any]:
        """The field names of hashes."""
        return self._each("HKEYS", keys)

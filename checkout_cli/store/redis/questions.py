"""Questions about many keys, to all of Redis or to one of its servers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from checkout_cli.errors import WrongKeyType
from checkout_cli.store.redis.commands import Command, pairs
from checkout_cli.store.redis.portions import portions

MOST_FIELDS = 1000
"""Fields of a hash that is read; a minute of the statistics has fewer than 300, a user six."""
LARGEST_HASH = 256 * 1024
"""Bytes of a hash that is read, with what it takes in the server's memory."""


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
        """The names and values of hashes, in turn; ``WrongKeyType`` for one that is larger than any of ours."""
        return self._each_small("HGETALL", keys)

    def sorted_set_sizes(self, keys: Sequence[str]) -> list[Any]:
        """The sizes of sorted sets."""
        return self._each("ZCARD", keys)

    def fields(self, keys: Sequence[bytes], names: Sequence[str]) -> list[Any]:
        """Some fields of hashes; ``WrongKeyType`` for one that is larger than any of ours."""
        return self._each_small("HMGET", keys, *names)

    def field_names(self, keys: Sequence[bytes]) -> list[Any]:
        """The field names of hashes; ``WrongKeyType`` for one that is larger than any of ours."""
        return self._each_small("HKEYS", keys)

    def _each_small(self, command: str, keys: Sequence[bytes | str], *arguments: str) -> list[Any]:
        """Measured before they are fetched; where MEMORY USAGE is denied, only their fields are counted.

        With SAMPLES 0 that is exact, and costs as much as there are fields.
        """
        counts = self._each("HLEN", keys)
        nothing = [None] * len(arguments)  # what a missing key has, which is not asked again
        answers = {key: count or nothing for key, count in zip(keys, counts, strict=True)}
        ours = [key for key, count in answers.items() if isinstance(count, int) and count <= MOST_FIELDS]
        measures = self.replies(*(("MEMORY", "USAGE", key, "SAMPLES", 0) for key in ours)) if ours else []
        sizes = {key: size if isinstance(size, int) else 0 for key, size in zip(ours, measures, strict=True)}
        for key, count in answers.items():
            if isinstance(count, int) and sizes.get(key, math.inf) > LARGEST_HASH:
                answers[key] = WrongKeyType(f"a hash of {count:,} fields, which is larger than any of ours")
        for some in portions((key, size) for key, size in sizes.items() if size <= LARGEST_HASH):
            answers |= zip(some, self._each(command, some, *arguments), strict=True)
        return [answers[key] for key in keys]

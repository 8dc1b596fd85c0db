"""The memory settings of a Redis server: how they are written, and what each policy may evict."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from checkout_cli.errors import InvalidInput

MAXMEMORY, POLICY, SAMPLES = "maxmemory", "maxmemory-policy", "maxmemory-samples"
POLICIES = (
    *("noeviction", "volatile-ttl", "volatile-lru", "volatile-lfu", "volatile-random"),
    *("allkeys-lru", "allkeys-lfu", "allkeys-random"),
)
"""Redis documentation, "Key eviction"."""

MEBIBYTE = 1 << 20
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": MEBIBYTE, "g": 1000**3, "gb": 1 << 30}
"""The units of redis.conf."""
_SIZE = re.compile(r"([0-9]{1,18})([a-z]{0,2})")
_LARGEST = 1 << 62


class Evicts(StrEnum):
    """The keys that a policy may evict at the limit. All sessions have a time to live."""

    NOTHING = "nothing"
    KEYS_WITH_TTL = "keys with a time to live"
    EVERY_KEY = "every key"


def evicts(policy: str) -> Evicts:
    """The keys that a policy may evict."""
    if policy.startswith("allkeys"):
        return Evicts.EVERY_KEY
    return Evicts.KEYS_WITH_TTL if policy.startswith("volatile") else Evicts.NOTHING


@dataclass(frozen=True)
class Limits:
    """``maxmemory`` in bytes (0: no limit), ``maxmemory-policy`` and ``maxmemory-samples``; ``None``: not known."""

    JSON_KEYS = "maxBytes=maxmemory policy samples"

    maxmemory: int | None = None
    policy: str | None = None
    samples: int | None = None

    @property
    def is_empty(self) -> bool:
        return not self.settings()

    def settings(self) -> dict[str, str]:
        """The known ones, as CONFIG SET and the configuration file take them."""
        values = {MAXMEMORY: self.maxmemory, POLICY: self.policy, SAMPLES: self.samples}
        return {name: str(value) for name, value in values.items() if value is not None}

    def with_(self, other: Limits) -> Limits:
        """These, replaced by what is known of the other."""
        return Limits.of(self.settings() | other.settings())

    def only(self, names: Limits) -> Limits:
        """These, without the settings that the other does not know."""
        return Limits.of({name: value for name, value in self.settings().items() if name in names.settings()})

    def agrees_with(self, other: Limits) -> bool:
        """Whether all settings that the other knows are the same here."""
        return self.only(other) == other

    @classmethod
    def of(cls, settings: dict[str, str]) -> Limits:
        """From a reply to CONFIG GET, or from :meth:`settings`."""
        return cls(_number(settings.get(MAXMEMORY)), settings.get(POLICY), _number(settings.get(SAMPLES)))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def size_in_bytes(text: str) -> int:
    """A size as in redis.conf: ``256mb`` (1024 squared), ``1g`` (1000 cubed), plain bytes, ``0`` for no limit."""
    found = _SIZE.fullmatch(text.lower())
    factor = None if found is None else _UNITS.get(found[2])
    size = -1 if found is None or factor is None else int(found[1]) * factor
    if not 0 <= size <= _LARGEST:
        raise InvalidInput(
            f"not a size: {text[:32]!r}",
            hint="a whole number and b, k, kb, m, mb, g or gb, such as 256mb or 2gb; 0 is no limit",
        )
    return size


def limits_wanted(maxmemory: str | None, policy: str | None, samples: int | None) -> Limits:
    """Limits as people type them; raises :class:`InvalidInput` where one is not a size, or not a policy of Redis."""
    size = None if maxmemory is None else size_in_bytes(maxmemory)
    return Limits(size, None if policy is None else known_policy(policy), samples)


def known_policy(text: str) -> str:
    """The policy of a name, in any case."""
    policy = text.strip().lower()
    if policy not in POLICIES:
        raise InvalidInput(f"not a policy: {text[:32]!r}", hint=f"one of {', '.join(POLICIES)}")
    return policy


def as_written(size: int) -> str:
    """A size in the shortest exact form, such as ``256mb``."""
    for unit in ("gb", "mb", "kb"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)

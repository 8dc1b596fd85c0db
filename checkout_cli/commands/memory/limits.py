"""The memory settings of a Redis server: how they are written, and what each policy may evict."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from checkout_cli.errors import InvalidInput

MAXMEMORY, POLICY, SAMPLES = "maxmemory", "maxmemory-policy", "maxmemory-samples"
POLICIES = (
    "noeviction",
    "volatile-ttl",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
)
"""Redis documentation, "Key eviction"."""

MEBIBYTE = 1 << 20
_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 1000**2,
    "mb": MEBIBYTE,
    "g": 1000**3,
    "gb": 1 << 30,
}
"""As the head of redis.conf has them."""
_SIZE = re.compile(r"([0-9]{1,18})([a-z]{0,2})")
_LARGEST = 1 << 62


class Evicts(StrEnum):
    """What a policy may throw away when the limit is reached. All sessions have a time to live."""

    NOTHING = "nothing"
    KEYS_WITH_TTL = "keys with a time to live"
    EVERY_KEY = "every key"


def evicts(policy: str) -> Evicts:
    """What a policy may throw away."""
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
        """Whether nothing is said at all."""
        return not self.settings()

    def settings(self) -> dict[str, str]:
        """What is said, as CONFIG SET and the configuration file take it."""
        said = {MAXMEMORY: self.maxmemory, POLICY: self.policy, SAMPLES: self.samples}
        return {name: str(value) for name, value in said.items() if value is not None}

    def with_(self, other: Limits) -> Limits:
        """These, but where the other says something, that."""
        return Limits.of(self.settings() | other.settings())

    def only(self, names: Limits) -> Limits:
        """These, of the settings that the other says something about."""
        return Limits.of({name: value for name, value in self.settings().items() if name in names.settings()})

    def agrees_with(self, other: Limits) -> bool:
        """Whether all that the other says is so here."""
        return self.only(other) == other

    @classmethod
    def of(cls, settings: dict[str, str]) -> Limits:
        """Out of a reply to CONFIG GET, or of :meth:`settings`."""
        return cls(_number(settings.get(MAXMEMORY)), settings.get(POLICY), _number(settings.get(SAMPLES)))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def size_in_bytes(text: str) -> int:
    """A size as redis.conf has it: ``256mb`` (1024 squared), ``1g`` (1000 cubed), plain bytes, ``0`` for no limit.

    Raises:
        InvalidInput: it is none.
    """
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
    """Limits as people type them.

    Raises:
        InvalidInput: a size that is none, or a policy that Redis does not have.
    """
    size = None if maxmemory is None else size_in_bytes(maxmemory)
    return Limits(size, None if policy is None else known_policy(policy), samples)


def known_policy(text: str) -> str:
    """The policy of a name.

    Raises:
        InvalidInput: Redis has no such policy.
    """
    policy = text.strip().lower()
    if policy not in POLICIES:
        raise InvalidInput(f"not a policy: {text[:32]!r}", hint=f"one of {', '.join(POLICIES)}")
    return policy


def as_written(size: int) -> str:
    """A size as short as it can be typed exactly, such as ``256mb``."""
    for unit in ("gb", "mb", "kb"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)

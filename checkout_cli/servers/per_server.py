"""Answers of several servers, and the servers of a cluster that did not answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from checkout_cli.clock import Clock
from checkout_cli.errors import CommandUnknown, ExitCode, RedisUnavailable
from checkout_cli.servers.inspection import Inspector
from checkout_cli.store.redis.admin import RedisAdmin

T = TypeVar("T")
MISSING = "partial missingServers=missing"
"""The keys of a partial result."""


class Partial:
    """The answers of a cluster's servers, incomplete where some, ``missing``, did not answer."""

    missing: tuple[str, ...]

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    @property
    def exit_code(self) -> ExitCode:
        """A partial answer is a finding."""
        return ExitCode.FINDING if self.partial else ExitCode.OK

    @property
    def next_step(self) -> str:
        return "checkoutctl doctor"


@dataclass(frozen=True)
class PerServer(Partial, Generic[T]):
    """One answer of each of ``servers`` at ``timestamp`` (ms)."""

    JSON_KEYS = f"timestamp@ servers {MISSING}"

    timestamp: int
    servers: tuple[T, ...]
    missing: tuple[str, ...] = ()


def of_each_server(redis: RedisAdmin, ask: Callable[[Inspector], T], *, clock: Clock | None = None) -> PerServer[T]:
    """The answers of all servers, or of a cluster's that answer; raises the last error where none does."""
    answers: list[T] = []
    unavailable: dict[str, RedisUnavailable] = {}
    for server in redis.servers():
        try:
            answers.append(ask(Inspector(server)))
        except CommandUnknown:
            raise
        except RedisUnavailable as error:
            unavailable[server.place] = error
    if unavailable and not answers:
        raise unavailable.popitem()[1]
    missing = dict.fromkeys([*unavailable, *redis.missing_servers()])
    return PerServer((clock or Clock()).wall(), tuple(answers), tuple(missing))

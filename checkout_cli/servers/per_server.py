"""What several servers say: each one's answer, and which of a cluster's servers did not answer."""

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
"""How a document says that it is a part."""


class Partial:
    """What a cluster's servers answer together: it is a part where some of them, ``missing``, do not answer."""

    missing: tuple[str, ...]

    @property
    def partial(self) -> bool:
        """Whether what only the missing servers know is missing too."""
        return bool(self.missing)

    @property
    def exit_code(self) -> ExitCode:
        """A part is a finding."""
        return ExitCode.FINDING if self.partial else ExitCode.OK


@dataclass(frozen=True)
class PerServer(Partial, Generic[T]):
    """The answers of ``servers`` at ``timestamp`` (ms), one of each."""

    SHOWN = f"timestamp@ servers {MISSING}"

    timestamp: int
    servers: tuple[T, ...]
    missing: tuple[str, ...] = ()


def of_each_server(redis: RedisAdmin, ask: Callable[[Inspector], T], *, clock: Clock | None = None) -> PerServer[T]:
    """The answers of all servers; of a cluster, of those that are there.

    Raises:
        CommandDenied, CommandUnknown: a server refuses what is asked.
        RedisUnavailable: no server answers.
    """
    answers: list[T] = []
    away: dict[str, RedisUnavailable] = {}
    for server in redis.servers():
        try:
            answers.append(ask(Inspector(server)))
        except CommandUnknown:
            raise
        except RedisUnavailable as error:
            away[server.place] = error
    if away and not answers:
        raise away.popitem()[1]
    missing = dict.fromkeys([*away, *redis.missing_servers()])
    return PerServer((clock or Clock()).wall(), tuple(answers), tuple(missing))

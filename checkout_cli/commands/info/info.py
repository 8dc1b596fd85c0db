"""``info``: what each Redis server says of itself, and what changes of it in a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from checkout_cli.clock import Clock
from checkout_cli.errors import InvalidInput
from checkout_cli.servers.inspection import of_each_server
from checkout_cli.store.redis.admin import RedisAdmin

EVERYTHING = "all"
BY_COMMAND = frozenset({"commandstats", "latencystats", "errorstats", "commands", "modules", "debug"})
"""Sections with a line for each command or error: left out unless they are asked for."""


@dataclass(frozen=True)
class ServerInfo:
    """One server's sections of INFO: by title in lower case, each field as the server has it."""

    place: str
    sections: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class InfoReport:
    """All servers that answer; ``timestamp`` is in milliseconds, ``missing`` are a cluster's that do not answer."""

    timestamp: int
    servers: tuple[ServerInfo, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A field that is not what it was; ``None`` where it was not there, or is no more."""

    place: str
    section: str
    name: str
    before: str | None
    after: str | None

    @property
    def growth(self) -> float | None:
        """By how much a number has changed."""
        try:
            return float(self.after or "") - float(self.before or "")
        except ValueError:
            return None


@dataclass(frozen=True)
class InfoDiff:
    """What has changed in ``seconds``."""

    seconds: float
    changes: tuple[Change, ...]


def server_info(redis: RedisAdmin, sections: Sequence[str] = (), *, clock: Clock | None = None) -> InfoReport:
    """Ask every server; without ``sections`` all but those that have a line for each command.

    Raises:
        InvalidInput: no server has such a section.
        CommandDenied, CommandUnknown: INFO is.
        RedisUnavailable: no server answers.
    """
    servers = of_each_server(redis, lambda server: ServerInfo(server.place, server.info().sections))
    wanted = _wanted(sections, {title for server in servers for title in server.sections})
    chosen = tuple(
        ServerInfo(server.place, {title: server.sections[title] for title in server.sections if wanted(title)})
        for server in servers
    )
    return InfoReport((clock or Clock()).wall(), chosen, tuple(redis.missing_servers()))


def _wanted(sections: Sequence[str], known: set[str]) -> Callable[[str], bool]:
    names = {name.lower() for name in sections}
    if EVERYTHING in names:
        return lambda _: True
    for name in names - known:
        similar = get_close_matches(name, known, n=1)
        meant = f"did you mean {similar[0]}? " if similar else ""
        raise InvalidInput(f"no section is called {name[:32]!r}", hint=f"{meant}{', '.join(sorted(known))}, or all")
    return (lambda title: title in names) if names else (lambda title: title not in BY_COMMAND)


def info_diff(
    redis: RedisAdmin, seconds: float, sections: Sequence[str] = (), *, sleep: Callable[[float], None] = time.sleep
) -> InfoDiff:
    """Two looks, ``seconds`` apart, and what differs; raises as :func:`server_info` does."""
    before = server_info(redis, sections)
    sleep(seconds)
    after = server_info(redis, sections)
    return InfoDiff((after.timestamp - before.timestamp) / 1000, tuple(_changes(before, after)))


def _changes(before: InfoReport, after: InfoReport) -> Iterator[Change]:
    old = {server.place: server.sections for server in before.servers}
    for server in after.servers:
        for title, fields in server.sections.items():
            known = old.get(server.place, {}).get(title, {})
            for name in dict.fromkeys([*fields, *known]):
                if fields.get(name) != known.get(name):
                    yield Change(server.place, title, name, known.get(name), fields.get(name))

"""Whose the connections to a server are, where it takes no more: by address and name, the most first."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkout_cli.errors import CheckoutError, TooManyClients
from checkout_cli.servers.inspection import Inspector
from checkout_cli.store.redis.clients import parsed
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

SHOWN = 5
"""Groups that are named; the rest is a number."""
PATIENCE = 1.0
"""Seconds for which we try to get in: a shop's connections come and go."""
PAUSE = 0.05


@dataclass(frozen=True)
class Clients:
    """The number of a server's clients, its limit where that is known, and the clients by address and name."""

    number: int
    limit: int | None
    groups: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, names: Iterable[str], limit: int | None = None) -> Clients:
        groups = Counter(names).most_common()
        return cls(sum(number for _, number in groups), limit, tuple(groups))

    @property
    def by_whom(self) -> str:
        """The largest groups in words."""
        shown = [f"{number:,} of {name}" for name, number in self.groups[:SHOWN]]
        rest = sum(number for _, number in self.groups[SHOWN:])
        return ", ".join([*shown, *([f"{rest:,} of others"] if rest else [])])

    def __str__(self) -> str:
        limit = f" of {self.limit:,}" if self.limit else ""
        return f"{self.number:,}{limit} connections: {self.by_whom}"

    @property
    def way_out(self) -> str:
        """What to type; the server's address is to be filled in."""
        return typed("redis-cli CONFIG SET maxclients {}", 2 * (self.limit or self.number))

    @property
    def advice(self) -> str:
        """What no command of ours does."""
        return "end those that should not be there, and put the higher maxclients into its configuration file too"


def clients_within(
    settings: Settings, address: tuple[str, int] | None, sleep: Callable[[float], None] = time.sleep
) -> Clients | None:
    """A full server's clients, as it tells once a connection got in; ``None`` where none did, or it may not tell."""
    from checkout_cli.store.redis.server import RedisServer

    end = time.monotonic() + PATIENCE
    while True:
        server = RedisServer(settings, elapsed=time.monotonic, jitter=random.random, address=address)
        try:
            listed, limit = Inspector(server).client_list(), Inspector(server).info().integer("maxclients")
        except TooManyClients:
            if time.monotonic() >= end:
                return None
            sleep(PAUSE)
        except CheckoutError:
            return None
        else:
            found = Clients.of(connected_clients(listed), limit)
            return found if found.number else None
        finally:
            server.close()


def connected_clients(listed: bytes) -> list[str]:
    """Each client of CLIENT LIST by the host of its address and its name."""
    return [_called(client.address, client.name) for client in parsed(listed)]


def _called(address: str, name: str) -> str:
    """The host, unless the address is none, and the name."""
    host = address.rpartition(":")[0].strip("[]")
    if not address:
        host = "an unknown address"
    elif not host or host.startswith(("/", "unix")):  # a Unix socket's clients have its path, and port 0
        host = "a Unix socket"
    return f"{host} ({name})" if name else host

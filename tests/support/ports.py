"""Ports for servers that come and go: no two of this run's processes ever get the same one.

A port that the kernel chooses may be given to somebody else while its server is down. The tests run side by side: a
server that is started again would then ask a neighbour's server whether it is up, and a port at which nobody is meant
to listen would answer.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from checkout_cli.servers.embedded import HOST

FIRST, LAST = 10_000, 32_000
"""Below the ports that the kernel hands out by itself (``ip_local_port_range``)."""


def slice_of(worker: int, workers: int) -> range:
    """The ports of one of so many processes."""
    size = (LAST - FIRST) // workers
    return range(FIRST + worker * size, FIRST + (worker + 1) * size)


def _in_turn(ports: range, beginning: int) -> Iterator[int]:
    """From somewhere in the middle on, round and round: two runs on one machine seldom meet."""
    while True:
        yield from (ports[(beginning + step) % len(ports)] for step in range(len(ports)))


_OURS = _in_turn(
    slice_of(
        int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")),
        int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
    ),
    os.getpid() * 101,
)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, and that is not handed out again."""
    return next(port for port in _OURS if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True

"""Names are resolved within a time that is bounded in total."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

AddressInfo = tuple[Any, ...]
"""What :func:`socket.getaddrinfo` returns."""


class Deadline:
    """A span of seconds that several waits share."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` counts seconds and never goes back."""
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Seconds that are left.

        Raises:
            TimeoutError: none are.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


def resolved(host: str, port: int, deadline: Deadline) -> Sequence[AddressInfo]:
    """A host's addresses. The resolver knows no time-out, so it runs in a thread that may be left behind.

    Raises:
        OSError: the name has no address.
        TimeoutError: the resolver does not answer in time.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: list[AddressInfo] = []
    problems: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as problem:
            problems.append(problem)
        except UnicodeError as problem:
            problems.append(OSError(f"{host!r} is no host name: {problem}"))

    resolver = threading.Thread(target=look_up, daemon=True)
    resolver.start()
    resolver.join(deadline.remaining())
    if problems:
        raise problems[0]
    if not found:
        raise TimeoutError(f"the name {host!r} was not resolved in time")
    return found

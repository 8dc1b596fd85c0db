"""Connections to PostgreSQL whose every wait ends.

The server's own time-outs help only while the server can be heard: with a dead network, or a server that is frozen,
a client waits for its answer for ever, and libpq has no setting for it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg

ALLOWANCE = 0.25
"""Seconds beyond the server's own time-out, so that its clearer answer comes first where it can come."""


class BoundedConnection(psycopg.Connection[Any]):
    """Closes itself where an answer does not come in time: nobody must take a late answer for theirs."""

    longest_wait = 2.0
    """Seconds for one answer."""

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """As psycopg has it, but not for ever."""
        try:
            return super().wait(_bounded(gen, time.monotonic() + self.longest_wait), *arguments, **options)
        except _Late as late:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.longest_wait:g} seconds") from late


class _Late(Exception):
    pass


def _bounded(steps: Generator[Any, Any, Any], deadline: float) -> Generator[Any, Any, Any]:
    """The same steps; psycopg looks in several times a second, also where nothing has come."""
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise _Late
            wanted = steps.send(ready)
    except StopIteration as done:
        return done.value


def connect(longest_wait: float, *arguments: Any, **options: Any) -> BoundedConnection:
    """A connection as ``psycopg.connect`` makes it; ``longest_wait`` is in seconds, for one answer."""
    connection = BoundedConnection.connect(*arguments, **options)
    connection.longest_wait = longest_wait + ALLOWANCE
    return connection

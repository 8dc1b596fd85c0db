"""Connections between two exchanges: the one used last goes first, and is only asked whether it is still in order.

The driver's pool counts, locks and reports on each loan, which takes as long as a third of a round trip. Connections
that the Sentinels name go back to it: it closes those to a primary that was replaced.
"""

from __future__ import annotations

import os
from typing import Any

import redis


class IdleConnections:
    """The connections of one server between its exchanges. Thread-safe: each step is one operation of a list."""

    def __init__(self, pool: redis.ConnectionPool, *, keeps: bool) -> None:
        """``keeps``: else every connection goes back to the pool."""
        self._pool = pool
        self._keeps = keeps
        self._idle: list[Any] = []
        self._process = os.getpid()

    def take(self) -> Any:
        """A connection that is in order; raises the driver's errors where there is none to be had."""
        if self._process != os.getpid():  # a parent's: it goes on using them
            self._idle, self._process = [], os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread has just taken it
                break
            if connection.is_in_order():
                return connection
            connection.disconnect()
            self._pool.release(connection)
        return self._pool.get_connection()

    def give_back(self, connection: Any) -> None:
        """Keep a connection for the next exchange."""
        if self._keeps and connection.is_open and self._process == os.getpid():
            self._idle.append(connection)
        else:
            self._pool.release(connection)

    def drop(self, *, but: bytes | None = None) -> None:
        """Close those to a server of another identity: what they were connected to is not there any more."""
        kept: list[Any] = []
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if but is not None and connection.identity == but:
                kept.append(connection)
            else:
                connection.disconnect()
                self._pool.release(connection)
        self._idle += reversed(kept)

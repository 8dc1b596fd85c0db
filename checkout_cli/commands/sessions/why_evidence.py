"""What an answer of ``sessions why`` rests on: what each tier has, and what the Redis server says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkout_cli.commands.sessions.trace import Trace
from checkout_cli.commands.sessions.undo_file import undo_file_of, undos_in
from checkout_cli.errors import CheckoutError, SessionCorrupt
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.servers.inspection import Inspector
from checkout_cli.session import decode, iso
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.inspection import KeyState, KeyView

ROUNDED = 1000
"""Milliseconds by which a server's own uptime, in whole seconds, makes it look younger."""
COMMAND = "why"
"""Its readings among those that are remembered."""


@dataclass(frozen=True)
class ServerStory:
    """What a server says of itself: start (ms), policy, evicted keys, and ``lately`` since the last look.

    ``loaded`` is how many keys it read from its disk at its start, ``None`` where that is unknown, as is all of it
    where INFO is denied.
    """

    started_at: int | None = None
    policy: str = ""
    evicted: int = 0
    lately: int | None = None
    loaded: int | None = None

    def was_started_after(self, moment: int) -> bool:
        return self.started_at is not None and self.started_at - ROUNDED > moment

    def __str__(self) -> str:
        lately = "" if self.lately is None else f", {self.lately:,} of them since the last look"
        return f"evictions: {self.evicted:,} keys since Redis was started{lately}; policy {self.policy or 'unknown'}"


def story_of(store: CheckoutStore, place: str, now: int, last_look: LastLook) -> ServerStory:
    """The server's account of itself; ``now`` is in milliseconds."""
    server = next((server for server in store.redis.servers() if server.place == place), None)
    if server is None:
        return ServerStory()
    try:
        info = Inspector(server).info()
    except CheckoutError:
        return ServerStory()
    uptime, evicted = info.integer("uptime_in_seconds"), info.integer("evicted_keys") or 0
    reading = Reading(now, info.text("run_id") or "", {"evicted_keys": float(evicted)})
    grown = reading.since(last_look.previous(COMMAND, place), "evicted_keys")
    with suppress(OSError):  # the next look is then a first one
        last_look.remember(COMMAND, place, reading)
    loaded = info.integer("rdb_last_load_keys_loaded")
    if not loaded and info.integer("aof_enabled"):
        loaded = None  # what an append-only file brought back is not counted
    return ServerStory(
        started_at=None if uptime is None else now - uptime * 1000,
        policy=info.text("maxmemory_policy") or "",
        evicted=evicted,
        lately=None if grown is None else int(grown),
        loaded=loaded,
    )


class Evidence:
    """What is known of one session."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        row = trace.row
        is_deleted = row is not None and row.body is None and row.previous_version is None
        self.undo_file: Path | None = undo_file_of(row.write_id) if row is not None and is_deleted else None

    def fields(self) -> Mapping[str, Any] | None:
        """The content that is known last."""
        key, row = self.trace.key, self.trace.row
        is_newest = row is None or (key is not None and (key.version is None or key.version >= row.version))
        if key is not None and key.fields is not None and is_newest:
            return key.fields
        if row is not None and row.body is None:
            return self._deleted_fields(row.previous_body)
        return self.trace.row_fields or (None if key is None else key.fields)

    def _deleted_fields(self, body: str | None) -> Mapping[str, Any] | None:
        if body is not None:
            with suppress(SessionCorrupt):
                return decode(body.encode())
        if self.undo_file is None:
            return None
        return next((undo.fields for undo in undos_in(self.undo_file, self.trace.checkout_id)), None)

    def lines(self) -> Iterator[str]:
        """What each tier has, in words."""
        key, conflicts = self.trace.key, self.trace.conflicts
        if key is None:
            yield f"Redis: {self.trace.redis_away}"
        else:
            yield f"Redis: {self._key_in_words(key)}"
            yield f"index: {self.trace.index_in_words()}"
            if key.waits:
                yield "checkout:pending: named there, as waiting for the database"
        yield f"database: {self._row_in_words()}"
        if conflicts:
            last = conflicts[0]
            when = f"{self.trace.when(last.detected_at)} ({last.source}, {last.result})"
            yield f"conflicts: {len(conflicts)}, the last {when}"

    def _key_in_words(self, key: KeyView) -> str:
        if key.state is KeyState.MISSING:
            return "no key"
        if key.state is KeyState.CLAIMED:
            return "no key, and a claim to fill it: somebody is reading it just now"
        ends_at = self.trace.key_expires_at()
        ends = "without an end" if ends_at is None else f"ends {self.trace.when(ends_at)}"
        if key.state is KeyState.BROKEN:
            return f"{key.problem}, {key.size:,} bytes, {ends}"
        version = "an external writer's" if key.version is None else f"version {key.version}"
        return f"{version}, {ends}, {self.trace.trust}"

    def _row_in_words(self) -> str:
        row = self.trace.row
        if row is None:
            return self.trace.database_away or "no row"
        if row.body is None:
            return f"a tombstone, version {row.version}, made {self.trace.when(row.updated_at)}"
        ends = f"{'ends' if row.expires_at > self.trace.now else 'ended'} {self.trace.when(row.expires_at)}"
        published = f"; published is {row.published_version}" if row.is_pending else ""
        return f"version {row.version}{published}, written {self.trace.when(row.updated_at)}, {ends}"

    def ended_at(self, moment: int) -> str:
        return f"{self.trace.when(moment)} ({iso(moment)})"

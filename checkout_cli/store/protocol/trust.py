"""Whether a value in Redis may be served without asking the database (rule 4)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from checkout_cli.store.protocol.ids import contains
from checkout_cli.store.protocol.value import NO_IDENTITY, Kind, Value


class Distrust(NamedTuple):
    """A version that Redis may lack: values older than it and without that write are not trusted."""

    version: int
    write_id: str

    def concerns(self, value: Value) -> bool:
        """Whether a value may be older than this version."""
        return value.base < self.version and not contains(value.ids, self.write_id)


class Doubt(StrEnum):
    """Why a value is not trusted."""

    EXTERNAL = "an external writer wrote it"
    NO_IDENTITY = "the server does not tell who it is"
    OTHER_SERVER = "published to another server, or to this one before it was restarted"
    QUESTIONABLE = "not compared with the database since an external writer or another server had it"
    BEHIND = "the database has a newer version, or may have"
    UNFLUSHED = "it lacks a write of this process that the database does not have yet"
    NO_LEASE = "pending rows were not looked for lately"


def doubt(
    value: Value, identity: bytes | None, distrusted: Sequence[Distrust], *, lease: bool, own: Sequence[str] = ()
) -> Doubt | None:
    """Why a value from the server of ``identity`` is not trusted; ``None``: it is.

    ``lease``: this process has looked for pending rows within T, under the epoch of this very server. ``own``: its
    writes that the database does not have yet.
    """
    if value.kind is not Kind.OURS:
        return Doubt.EXTERNAL
    if identity is None or value.identity == NO_IDENTITY:
        return Doubt.NO_IDENTITY
    if value.identity != identity:
        return Doubt.OTHER_SERVER
    if value.questionable:
        return Doubt.QUESTIONABLE
    if distrusted and any(each.concerns(value) for each in distrusted):
        return Doubt.BEHIND
    if own and not all(contains(value.ids, each) for each in own):
        return Doubt.UNFLUSHED
    return None if lease else Doubt.NO_LEASE

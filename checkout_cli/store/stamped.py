"""A session's value in Redis: ``version`` and ``stamp`` first, then the body (ARCHITECTURE.md, the value).

A stamp is the identity of the server that the copy was published to, and a checksum of the version and of all that
follows. The identity makes a copy that a restart or a failover brought back worthless; the checksum does the same to a
copy that another program has read, changed and written back with our stamp still in it.

A value that was written while the database was away carries the ids of those writes (``undrained``), and the version
of the row that it grew from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

import msgspec

FILL_MARKER = b"fill:"

_HEADER = re.compile(
    rb'\{"version":(\d{1,18}),"stamp":"([^"\\]{0,128}):([0-9a-f]{8})",(?:"undrained":\["([0-9A-Za-z",-]+)"\],)?'
)

NO_IDENTITY = b"-"
"""Stands in the stamp where the server does not tell who it is; never equal to an identity."""


class Stamped(msgspec.Struct, frozen=True):
    """A value that the store wrote: what its header says, and the body behind it.

    ``intact`` is false where what follows the stamp is not what was stamped. ``undrained`` names the writes that the
    database lacks, oldest first; with any of them, ``version`` is the row's that they grew from (0: none).
    """

    version: int
    identity: bytes
    body: bytes
    intact: bool
    undrained: tuple[str, ...] = ()


def encode(version: int, identity: bytes | None, body: bytes, undrained: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """The value to store, and the stamp in it."""
    content = body[1:]
    if undrained:
        content = b'"undrained":["%s"],%s' % ('","'.join(undrained).encode(), content)
    stamp = b"%s:%08x" % (identity or NO_IDENTITY, _checksum(version, content))
    return b'{"version":%d,"stamp":"%s",%s' % (version, stamp, content), stamp


def decode(value: bytes) -> Stamped | None:
    """What the store knows of a value, or ``None`` for a foreign one."""
    header = _HEADER.match(value)
    if header is None:
        return None
    version, content = int(header[1]), value[header.end(3) + 2 :]
    intact = _checksum(version, content) == int(header[3], 16)
    if header[4] is None:
        return Stamped(version, header[2], b"{" + content, intact)
    undrained = tuple(header[4].decode().split('","'))
    return Stamped(version, header[2], b"{" + value[header.end() :], intact, undrained)


def _checksum(version: int, content: bytes) -> int:
    return crc32(content, version & 0xFFFFFFFF)

"""A session's value in Redis: ``version`` and ``stamp`` first, then the body (DESIGN section 4).

A stamp is the identity of the server that the copy was published to, and a checksum of the body. The identity makes a
copy that a restart or a failover brought back worthless; the checksum, which covers the version too, does the same to a
copy that another program has read, changed and written back with our stamp still in it.
"""

from __future__ import annotations

import re
from zlib import crc32

import msgspec

FILL_MARKER = b"fill:"

_HEADER = re.compile(rb'\{"version":(\d{1,18}),"stamp":"([^"\\]{0,128}):([0-9a-f]{8})",')

NO_IDENTITY = b"-"
"""Stands in the stamp where the server does not tell who it is; never equal to an identity."""


class Stamped(msgspec.Struct, frozen=True):
    """A value that the store wrote: what its header says, and the body behind it.

    ``intact`` is false where the body is not the one that was stamped.
    """

    version: int
    identity: bytes
    body: bytes
    intact: bool


def encode(version: int, identity: bytes | None, body: bytes) -> tuple[bytes, bytes]:
    """The value to store, and the stamp in it."""
    stamp = b"%s:%08x" % (identity or NO_IDENTITY, _checksum(version, body))
    return b'{"version":%d,"stamp":"%s",%s' % (version, stamp, body[1:]), stamp


def decode(value: bytes) -> Stamped | None:
    """What the store knows of a value, or ``None`` for a foreign one."""
    header = _HEADER.match(value)
    if header is None:
        return None
    version, body = int(header[1]), b"{" + value[header.end() :]
    return Stamped(version, header[2], body, _checksum(version, body) == int(header[3], 16))


def _checksum(version: int, body: bytes) -> int:
    return crc32(body, version & 0xFFFFFFFF)

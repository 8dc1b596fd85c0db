"""The undo file of a deletion: all that every tier had of the sessions, written before the first goes.

NDJSON, mode 0600, because it holds personal data: a header, a line for each session, and a checksum of all of it. A
file without that last line, or with another checksum, is refused.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from checkout_cli.errors import CheckoutError, InvalidInput
from checkout_cli.files.atomic_file import NoHome, atomic_file, state_directory
from checkout_cli.session import iso
from checkout_cli.typed import typed

KIND = "checkoutctl undo"
VERSION = 1
_T = TypeVar("_T", bound=msgspec.Struct)
_SUFFIX = ".undo.ndjson"
_LONGEST_LINE = 8 << 20
"""Bytes; a session of ours has a quarter of a megabyte, in each of two tiers."""


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """The first line; ``deleted_at`` is in milliseconds."""

    kind: str
    schema_version: int
    deletion: str
    deleted_at: int
    database: str
    redis: str
    sessions: int


class InRedis(msgspec.Struct, frozen=True, rename="camel"):
    """Redis' bytes, TTL and end (ms, ``None``: no end), and the index score (ms)."""

    value: bytes
    ttl_ms: int | None
    expires_at: int | None
    index_score: float | None


class InDatabase(msgspec.Struct, frozen=True, rename="camel"):
    """The row; moments are in milliseconds."""

    version: int
    body: str
    created_at: int
    expires_at: int


class Undo(msgspec.Struct, frozen=True, rename="camel"):
    """A session; ``version`` is the deleted one, 0 for an external writer's."""

    checkout_id: str
    version: int
    redis: InRedis | None = None
    database: InDatabase | None = None


class Footer(msgspec.Struct, frozen=True):
    sha256: str


def undo_path(deleted_at: int, deletion: str) -> Path:
    """The default place, below ``$XDG_STATE_HOME/checkoutctl``; ``deleted_at`` is in milliseconds."""
    moment = iso(deleted_at).translate(str.maketrans("", "", "-:."))
    try:
        return _default_directory() / f"{moment}-{deletion[:8]}{_SUFFIX}"
    except NoHome as error:
        hint = "--undo-file with a place that you can write to"
        raise CheckoutError(f"there is no place for the undo file: {error.strerror}", hint=hint) from error


def _default_directory() -> Path:
    return state_directory() / "undo"


def write_undo(path: Path, header: Header, sessions: Iterable[Undo]) -> None:
    """Write the file whole or not at all; raises CheckoutError where it cannot be written or exists."""
    digest = hashlib.sha256()
    try:
        with atomic_file(path, new=True) as stream:
            for part in itertools.chain([header], sessions):
                line = msgspec.json.encode(part) + b"\n"
                stream.write(line)
                digest.update(line)
            stream.write(msgspec.json.encode(Footer(digest.hexdigest())) + b"\n")
    except FileExistsError as error:
        hint = "--undo-file with a new name"
        raise InvalidInput(f"{path} is there already; nothing was deleted", hint=hint) from error
    except OSError as error:
        raise CheckoutError(
            f"the undo file cannot be written, so nothing was deleted: {path}: {error.strerror or error}",
            hint="--undo-file with a place that you can write to",
        ) from error


def read_undo(path: Path) -> tuple[Header, Iterator[Undo]]:
    """The header and the sessions, one by one; the whole file is checked first. Raises InvalidInput."""
    try:
        header = _checked(path)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}", hint=typed("ls -l {}", path)) from error
    return header, _sessions(path)


def _checked(path: Path) -> Header:
    digest, number, header, footer, is_whole = hashlib.sha256(), 0, None, None, False
    with path.open("rb") as stream:
        while line := stream.readline(_LONGEST_LINE):
            if header is None:
                header = _header(path, line)
            elif footer is not None:
                raise _broken(path, "goes on after its end")
            elif line.startswith(b'{"sha256":'):
                footer, is_whole = _decoded(path, line, Footer), line.endswith(b"\n")
                continue
            else:
                number += 1
            digest.update(line)
    if header is None:
        raise _broken(path, "is empty")
    if footer is None or not is_whole:
        raise _broken(path, "is cut off: its last line is missing")
    if footer.sha256 != digest.hexdigest() or number != header.sessions:
        raise _broken(path, "was changed after it had been written: its checksum is another")
    return header


def _header(path: Path, line: bytes) -> Header:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        header = msgspec.json.decode(line, type=Header)
        if header.kind == KIND and header.schema_version == VERSION:
            return header
        if header.kind == KIND:
            raise InvalidInput(
                f"{path} was written by another version of checkoutctl (its format is {header.schema_version})",
                hint="use the version that wrote it",
            )
    raise InvalidInput(f"{path} is no undo file", hint="the file that `sessions delete` has named")


def _sessions(path: Path) -> Iterator[Undo]:
    with path.open("rb") as stream:
        stream.readline(_LONGEST_LINE)
        while (line := stream.readline(_LONGEST_LINE)) and not line.startswith(b'{"sha256":'):
            yield _decoded(path, line, Undo)


def _decoded(path: Path, line: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _broken(path, "has a line that is none of ours") from error


def _broken(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path} {what}; nothing was restored", hint="use the whole file, as it was written")


def sweep(before: int) -> None:
    """Remove files in the default place that are older than ``before`` (ms): nothing in them can be restored."""
    with suppress(OSError):
        for path in _default_directory().glob(f"*{_SUFFIX}"):
            if path.stat().st_mtime * 1000 < before:
                path.unlink()

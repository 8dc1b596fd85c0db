"""The undo file of a deletion: all that every tier had of the sessions, written before the first goes.

NDJSON, mode 0600, because it holds personal data: a header, a line for each session, and a checksum of all of it. A
file without that last line, or with another checksum, is refused.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from checkout_cli.errors import CheckoutError, InvalidInput, SessionCorrupt
from checkout_cli.files.atomic_file import NoHome, atomic_file, state_directory
from checkout_cli.files.state_file import StateFile
from checkout_cli.session import decode, iso
from checkout_cli.store.protocol.value import decode as decode_value
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

    @property
    def fields(self) -> dict[str, Any] | None:
        """What was deleted, by the database, else by Redis; ``None`` where that is no session."""
        try:
            if self.database is not None:
                return decode(self.database.body.encode())
            return None if self.redis is None else decode(decode_value(self.redis.value).body)
        except SessionCorrupt:
            return None


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


def _sessions(path: Path, containing: bytes = b"") -> Iterator[Undo]:
    """Of the lines that contain these bytes: to decode each takes far longer than to read it."""
    with path.open("rb") as stream:
        stream.readline(_LONGEST_LINE)
        while (line := stream.readline(_LONGEST_LINE)) and not line.startswith(b'{"sha256":'):
            if containing in line:
                yield _decoded(path, line, Undo)


def _decoded(path: Path, line: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _broken(path, "has a line that is none of ours") from error


def _broken(path: Path, what: str) -> InvalidInput:
    return InvalidInput(f"{path} {what}; nothing was restored", hint="use the whole file, as it was written")


# Finding one again


class _Written(msgspec.Struct, frozen=True):
    """Where the undo file of a deletion is, and when (ms) that was."""

    path: str
    deleted_at: int


def _places() -> StateFile[_Written]:
    return StateFile("undo-files.json", _Written, lambda written: written.deleted_at)


def remember_undo(deletion: str, path: Path, deleted_at: int) -> None:
    """Note a file that is not in the default place, so that :func:`undo_file_of` finds it."""
    with suppress(OSError):  # the file itself has been written
        if path.parent != _default_directory():
            _places().put(deletion, _Written(str(path.absolute()), deleted_at))


class _Restored(msgspec.Struct, frozen=True):
    """How many sessions of an undo file a restore has dealt with whose time was up, and when (ms)."""

    number: int
    at: int


def _restores() -> StateFile[_Restored]:
    return StateFile("restores.json", _Restored, lambda restored: restored.at)


def restored_before(deletion: str) -> int:
    """How many sessions of a deletion's undo file the next restore leaves out."""
    restored = _restores().last(deletion)
    return 0 if restored is None else max(restored.number, 0)


def remember_restored(deletion: str, number: int, at: int) -> None:
    """Note how far a restore came, or with 0 that the next one begins at the start."""
    if number or restored_before(deletion):
        with suppress(OSError):  # the next one then looks at these again, and finds them alive
            _restores().put(deletion, _Restored(number, at) if number else None)


def undo_file_of(deletion: str) -> Path | None:
    """The undo file of a deletion, if it was written by this user on this machine, and is still there."""
    kept = _places().last(deletion)
    candidates = [] if kept is None else [Path(kept.path)]
    with suppress(OSError):
        candidates += _default_directory().glob(f"*-{glob.escape(deletion[:8])}{_SUFFIX}")
    return next((path for path in candidates if (header := _readable(path)) and header.deletion == deletion), None)


def undo_files() -> Iterator[tuple[Header, Path]]:
    """The undo files of this user on this machine, the newest first."""
    paths = {Path(kept.path) for kept in _places().read().values()}
    with suppress(OSError):
        paths |= set(_default_directory().glob(f"*{_SUFFIX}"))
    known = [(header, path) for path in paths if (header := _readable(path))]
    yield from sorted(known, key=lambda each: (-each[0].deleted_at, each[1]))


def undos_in(path: Path, checkout_id: str = "") -> Iterator[Undo]:
    """The sessions in an undo file, or the one of this id; ends where the file can be read no further."""
    with suppress(OSError, InvalidInput):
        yield from (undo for undo in _sessions(path, checkout_id.encode()) if checkout_id in {"", undo.checkout_id})


def _readable(path: Path) -> Header | None:
    try:
        with path.open("rb") as stream:
            return _header(path, stream.readline(_LONGEST_LINE))
    except (OSError, InvalidInput):
        return None


def sweep(before: int) -> None:
    """Remove files in the default place that are older than ``before`` (ms): nothing in them can be restored."""
    with suppress(OSError):
        for path in _default_directory().glob(f"*{_SUFFIX}"):
            if path.stat().st_mtime * 1000 < before:
                path.unlink()

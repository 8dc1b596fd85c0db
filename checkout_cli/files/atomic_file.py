"""Files that are written completely or not at all, and are for their owner alone unless they are public."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

NOT_OURS = "it must be new, or a regular file of this user, and no symbolic link"


class NotOurs(OSError):
    """A file that is not for us to write."""


class NoHome(OSError):
    """This user has no home directory, as a container's random user: there is no place for state."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, "there is no home directory; set XDG_STATE_HOME to a directory for state")


def state_directory() -> Path:
    """The user's directory for our state, ``$XDG_STATE_HOME/checkoutctl``; raises ``NoHome``, an ``OSError``."""
    import platformdirs

    try:
        return platformdirs.user_state_path("checkoutctl", appauthor=False)
    except RuntimeError as error:
        raise NoHome from error


def write_atomically(path: Path, content: bytes, *, public: bool = False) -> None:
    """Write a file, or replace it; raises ``OSError``."""
    with atomic_file(path, public=public) as stream:
        stream.write(content)


def open_own(path: str | Path, flags: int) -> int:
    """A descriptor of a new file (0600) or of a regular one of ours, never through a link; raises ``OSError``."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:  # a link, a FIFO, a directory
            raise NotOurs(error.errno, NOT_OURS) from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
        os.close(descriptor)
        raise NotOurs(errno.EPERM, NOT_OURS)
    return descriptor


def make_private(path: Path, mode: int = 0o600) -> None:
    """Change the mode of a regular file, never of what a link points to; raises ``OSError``."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path, *, new: bool = False, public: bool = False) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file at the end of the block, and nothing where the block raises.

    It is written beside the old file and renamed, so that no reader sees a half. With ``new``, there must be no old
    one. The mode is 0600, or 0644 where it is ``public``. Raises ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755 if public else 0o700)
    if new:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    halves = [path] if new else []
    try:
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # created 0600
        halves.append(Path(name))
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            if public and hasattr(os, "fchmod"):
                os.fchmod(handle, 0o644)
            os.fsync(handle)
        Path(name).replace(path)
        _sync_directory(path.parent)
    except BaseException:
        for half in halves:
            with suppress(OSError):
                half.unlink()
        raise


def _sync_directory(directory: Path) -> None:
    """Make a rename in a directory survive a power cut."""
    if os.name == "nt":  # directories cannot be opened there
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files that are for their owner alone: written completely or not at all, and never readable by others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def state_directory() -> Path:
    """The user's directory for our state, ``$XDG_STATE_HOME/checkoutctl``."""
    import platformdirs

    return platformdirs.user_state_path("checkoutctl", appauthor=False)


def write_private(path: Path, content: bytes) -> None:
    """Put a file there, mode 0600, in place of what was there before.

    Raises:
        OSError: it cannot be written.
    """
    with private_file(path) as stream:
        stream.write(content)


@contextmanager
def private_file(path: Path, *, new: bool = False) -> Iterator[BinaryIO]:
    """What is written here is put there, mode 0600, at the end of the block; nothing is where the block raises.

    It is written beside the old one and renamed: whoever reads meanwhile sees the old content or the new, never a half.
    With ``new``, there must be no old one.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if new:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    halves = [path] if new else []
    try:
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # created 0600
        halves.append(Path(name))
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
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

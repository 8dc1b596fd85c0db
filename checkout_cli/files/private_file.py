"""Files that are for their owner alone: written completely or not at all, and never readable by others."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Put a file there, mode 0600, in place of what was there before.

    It is written beside the old one and renamed: whoever reads meanwhile sees the old content or the new, never a half.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # created 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def sync_directory(directory: Path) -> None:
    """Make a rename in a directory survive a power cut."""
    if os.name == "nt":  # directories cannot be opened there
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

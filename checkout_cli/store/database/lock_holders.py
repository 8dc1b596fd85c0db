"""Who holds the lock of an SQLite file, where the system tells: Linux does, in /proc/locks (proc_locks(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_WRITER_IN_WAL = 120
"""The byte of the -shm file that whoever writes has locked (SQLite's file format, "WAL-Index locks")."""
_LOCK_BYTES = 0x40000000
"""Where the locks of the file itself begin ("The lock-byte page")."""
_LONGEST_COMMAND = 64


def holders(path: Path, proc: Path = PROC) -> list[str]:
    """The processes that keep others from writing to the file, as ``pid 4711 (python3 shop.py)``."""
    files = dict(_files(path))
    pids: dict[int, None] = {}
    with suppress(OSError):
        for line in (proc / "locks").read_text(encoding="utf-8", errors="replace").splitlines():
            held = _held(line)
            if held is not None and held[:2] in files and _keeps_writers_out(*held[2:], shared=files[held[:2]]):
                pids[held[2]] = None
    return [_described(pid, proc) for pid in pids]


def _files(path: Path) -> Iterator[tuple[tuple[str, int], bool]]:
    """Device and inode of the file and of its shared memory, and which of them it is."""
    for name, is_shared in ((path, False), (Path(f"{path}-shm"), True)):
        with suppress(OSError):
            status = name.stat()
            yield (f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", status.st_ino), is_shared


def _held(line: str) -> tuple[str, int, int, int, int] | None:
    """Device, inode, process, first and last byte of a lock for writing; ``None`` for another, or one that waits."""
    words = line.split()
    if len(words) != 8 or words[3] != "WRITE":
        return None
    major, _, rest = words[5].partition(":")
    minor, _, inode = rest.partition(":")
    try:
        end = 2**63 if words[7] == "EOF" else int(words[7])
        return f"{major}:{minor}", int(inode), int(words[4]), int(words[6]), end
    except ValueError:
        return None


def _keeps_writers_out(pid: int, first: int, last: int, *, shared: bool) -> bool:
    """Processes of other namespaces have no number here."""
    return pid > 0 and (first <= _WRITER_IN_WAL <= last if shared else last >= _LOCK_BYTES)


def _described(pid: int, proc: Path) -> str:
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"pid {pid}"
    command = " ".join(_shown(words))[:_LONGEST_COMMAND]
    return f"pid {pid} ({command})" if command else f"pid {pid}"


def _shown(words: list[bytes]) -> Iterator[str]:
    """The program, and the script or module that it runs: what else is typed may be a secret."""
    texts = [word.decode(errors="replace") for word in words]
    yield from filter(None, [texts[0].rpartition("/")[2]])
    rest = [word for word in texts[1:] if word and word != "-m"]
    if rest and not rest[0].startswith("-") and "=" not in rest[0] and "://" not in rest[0] and "\n" not in rest[0]:
        yield rest[0].rpartition("/")[2]

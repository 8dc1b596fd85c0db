"""Files that settings come from: regular, bounded, and written by nobody but us or root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from checkout_cli.errors import ConfigurationError
from checkout_cli.typed import typed

LARGEST_ENV_FILE = 1 << 20
LARGEST_SECRET = 4096
"""Bytes."""


def at_home(path: str) -> Path:
    """The path with ``~`` and ``~user`` replaced; as it stands where there is no such home directory."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (pathlib's own raises for a user without one)


def read_regular(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """A regular file's content and status; ``ValueError`` for any other kind and a larger one, or ``OSError``."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)  # O_NONBLOCK: a FIFO without a writer would wait for ever
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is larger than {limit} bytes")
    return content, status


def text_of(content: bytes) -> str:
    """A file's text, without the byte order mark that Windows' own tools begin it with; ``UnicodeDecodeError``."""
    return content.decode("utf-8-sig")


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with a file that is no UTF-8, without its content."""
    if error.object[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "it is UTF-16, as PowerShell's > writes; save it as UTF-8"
    return f"byte {error.start} is not UTF-8"


def insist_on_trust(path: Path, status: os.stat_result) -> None:
    """Raise ``ConfigurationError`` where somebody else than us and root can have written the file, or linked it."""
    if os.name == "nt":  # no such owners and bits
        return
    link = path.lstat()
    for owner in {status.st_uid, link.st_uid if stat.S_ISLNK(link.st_mode) else status.st_uid}:
        if owner not in {os.geteuid(), 0}:
            raise _distrusted(path, status, owner, "belongs to somebody else")
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_private_group(status)):
        raise _distrusted(path, status, status.st_uid, "can be written by others")


def _distrusted(path: Path, status: os.stat_result, owner: int, why: str) -> ConfigurationError:
    text = f"{path} {why}, so it is not read: owner {_name(owner)}, mode {stat.S_IMODE(status.st_mode):04o}"
    is_ours = owner == os.geteuid() and status.st_uid == owner
    command = "chmod go-w {}" if is_ours else "CHECKOUT_ENV_FILE={} checkoutctl config check"
    return ConfigurationError(text, hint=typed(command, path.absolute()))


def _is_private_group(status: os.stat_result) -> bool:
    """Whether the file's group holds only its owner, or root."""
    import grp
    import pwd

    if status.st_gid == 0:
        return True
    try:
        owner = pwd.getpwuid(status.st_uid)
        members = grp.getgrgid(status.st_gid).gr_mem
    except KeyError:
        return False
    others = (entry for entry in pwd.getpwall() if entry.pw_gid == status.st_gid and entry.pw_uid != status.st_uid)
    return owner.pw_gid == status.st_gid and not set(members) - {owner.pw_name} and next(others, None) is None


def _name(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)

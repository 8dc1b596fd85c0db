"""Who has seen personal data: one JSON line for each ``--reveal``, in a file of the user's state directory."""

from __future__ import annotations

import getpass
import json
import os
import time
from pathlib import Path

from checkout_cli.errors import ConfigurationError
from checkout_cli.files.atomic_file import NoHome, open_own, state_directory
from checkout_cli.session import iso
from checkout_cli.typed import typed

FILE = "audit.ndjson"


def record(command: str, what: str, directory: Path | None = None) -> str:
    """Add a line to the audit trail and return the user's name; raises ``ConfigurationError`` where that fails."""
    try:
        path = (directory or state_directory()) / FILE
    except NoHome as error:
        raise ConfigurationError(
            f"there is no place for the audit trail, so nothing is revealed: {error.strerror}",
            hint=f"XDG_STATE_HOME=DIRECTORY checkoutctl {command}",
        ) from error
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # no such user in this container, or no user database on this system
        user = "somebody unknown"
    line = {
        "timestamp": iso(round(time.time() * 1000)),
        "user": user,
        "uid": os.getuid() if hasattr(os, "getuid") else None,
        "sudoUser": os.environ.get("SUDO_USER"),
        "command": command,
        "revealed": what,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with os.fdopen(descriptor, "ab") as stream:
            stream.write(json.dumps(line).encode() + b"\n")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"the audit trail {path} cannot be written, so nothing is revealed: {reason}",
            hint=typed("ls -ld {} {}", path.parent, path),
        ) from error
    return user

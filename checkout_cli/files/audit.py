"""A trail of who looked at personal data."""

from __future__ import annotations

import getpass
import logging

_log = logging.getLogger("checkout_cli.audit")


def revealed(command: str, what: str) -> None:
    """Log that personal data is about to be shown unmasked: to whom, by which command, and of what."""
    _log.info("%s reveals personal data of %s by %s", _user(), what, command)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no such user in this container, or no user database on this system
        return "somebody unknown"

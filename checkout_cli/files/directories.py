"""The working directory as it was typed: a link that a deploy moves on is kept, and not what it points to now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from checkout_cli.errors import ConfigurationError
from checkout_cli.typed import typed


def working_directory(environ: Mapping[str, str] | None = None) -> Path:
    """The working directory, by the shell's name for it where that is the same directory.

    Raises ``ConfigurationError`` where it was removed, or replaced as by a deployment.
    """
    named = Path((os.environ if environ is None else environ).get("PWD", ""))
    try:
        here = Path.cwd()
    except OSError as error:
        raise ConfigurationError(
            "the working directory is gone: it was removed, or replaced by another",
            hint=typed("cd {}", named) if named.is_absolute() and named.is_dir() else "cd ~",
        ) from error
    with suppress(OSError):  # the shell's name is of a directory that is gone
        if named.is_absolute() and named.samefile(here):
            return named
    return here


def as_typed(path: Path) -> Path:
    """An absolute path with every link in it as it is; raises as :func:`working_directory` for a relative one."""
    return path if path.is_absolute() else working_directory() / path

"""Write memory settings to the server's own configuration file, or say exactly why not and which lines belong there."""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.commands.memory.limits import SAMPLES, Limits
from checkout_cli.commands.memory.outlook import Looked
from checkout_cli.errors import CommandDenied, CommandUnknown, RedisUnavailable

SOME_FILE = "redis.conf or valkey.conf"
"""Where a server does not tell which file it is."""


@dataclass(frozen=True)
class Persisted:
    """Whether the settings were written to the server's file; if not, why not, and what belongs where.

    ``lines`` are for ``file``, which is a path on the server's machine, or says in words which file it would be.
    """

    done: bool
    file: str
    reason: str
    lines: tuple[str, ...]


def lines_for_file(limits: Limits) -> tuple[str, ...]:
    """The lines of a configuration file that say this."""
    return tuple(f"{name} {value}" for name, value in limits.settings().items() if name != SAMPLES)


def persist_at(looked: Looked, limits: Limits) -> Persisted:
    """CONFIG REWRITE; it writes everything that was changed at run time, not these settings alone."""
    lines = lines_for_file(limits)
    file = looked.config_file or SOME_FILE
    if looked.config_file == "":
        return Persisted(False, file, "the server was started without a configuration file", lines)
    try:
        looked.server.rewrite_config()
    except CommandDenied as refusal:
        return Persisted(False, file, f"this user may not write it: needs {refusal.grant}", lines)
    except CommandUnknown:
        return Persisted(False, file, "this server has no CONFIG REWRITE", lines)
    except RedisUnavailable as refusal:
        return Persisted(False, file, str(refusal).removeprefix(f"Redis at {looked.place}: "), lines)
    return Persisted(True, file, "", lines)

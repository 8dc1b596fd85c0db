"""How a server that has answered before is started again, with its data.

What it said of itself is believed only as far as this machine bears it out: a program and a configuration of others
would run whatever they say. Nothing of it is ever run as another user.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from checkout_cli.config.trusted_file import insist_on_trust
from checkout_cli.errors import CheckoutError
from checkout_cli.files.answered import LONGEST_WORD, Answered
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.installation import SERVERS, Installation
from checkout_cli.typed import typed

_OF_PACKAGES = {"/etc/redis", "/etc/valkey", "/etc", "/usr/local/etc", "/opt/homebrew/etc"}
"""Where the systems' own packages keep the configuration that their service starts with."""
FIND_DATA = (
    r"find / -xdev \( -name 'dump*.rdb' -o -name appendonlydir -o -name redis.conf -o -name valkey.conf \) 2> /dev/null"
)
"""An empty server in the place of one with data would look as if all were well."""


def answered(info: Info, now: int, *, had_data: bool) -> Answered | None:
    """What a server says of itself at ``now`` (ms); ``None`` where it does not tell who it is."""
    run = info.text("run_id")
    if not run:
        return None
    name, version = ("Valkey", "valkey_version") if info.text("valkey_version") else ("Redis", "redis_version")

    def word(field: str) -> str:
        return (info.text(field) or "")[:LONGEST_WORD]

    return Answered(
        now,
        run[:LONGEST_WORD],
        f"{name} {word(version)}".strip(),
        word("executable"),
        word("config_file"),
        info.integer("tcp_port") or 0,
        info.integer("process_id") or 0,
        had_data,
    )


def way_back(server: Answered, here: Installation) -> str:
    """The command after which it runs again, with the data that it keeps."""
    installed = here.server.path if here.server is not None else ""
    program = server.executable if _is_server(server.executable) else installed
    config = server.config_file if _is_trusted(server.config_file) else ""
    if config and str(Path(config).parent) in _OF_PACKAGES and here.service_manager and here.server is not None:
        return here.start_command
    if not program:
        return here.install_command
    if config:
        return typed("{} {} --daemonize yes", program, config)
    if server.had_data:
        return FIND_DATA
    return typed("{} --port {} --daemonize yes", program, server.port)


def _is_server(path: str) -> bool:
    return Path(path).name in SERVERS and _is_trusted(path) and os.access(path, os.X_OK)


def _is_trusted(path: str) -> bool:
    """Whether it is a plain file on this machine that nobody but us and root can have written, nor put there."""
    place = Path(path)
    if not place.is_absolute() or not path.isprintable() or ".." in place.parts:
        return False
    try:
        status = place.stat()
        insist_on_trust(place, status)
        for parent in place.resolve().parents:
            above = parent.stat()
            if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
                return False
    except (OSError, CheckoutError):
        return False
    return stat.S_ISREG(status.st_mode)

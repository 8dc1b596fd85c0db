"""Who is connected to a server, by its CLIENT LIST (Redis documentation, "CLIENT LIST")."""

from __future__ import annotations

import re
from typing import NamedTuple

from checkout_cli.privacy.personal_ids import named

LONGEST_NAME = 64
"""Characters of a client's name that are shown; it may give itself any."""

_ADDRESS = re.compile(rb"lua|(?:[0-9.]{7,15}|\[?[0-9A-Fa-f:.%a-z]{2,60}\]?):[0-9]{1,5}|(?:unix:)?/[!-~]{1,200}(?::0)?")


class Client(NamedTuple):
    """A connection: its address, the name that it gave itself, and its last command, as ``config|get``.

    The address is empty where it has no form of one.
    """

    address: str
    name: str
    command: str


def parsed(raw: object) -> list[Client]:
    """The clients in a reply; lines of another form are left out."""
    if not isinstance(raw, bytes):
        return []
    found = []
    for line in raw.decode("utf-8", "replace").splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split(" "))
        if fields.get("addr"):
            address = client_address(fields["addr"].encode("utf-8", "replace"))
            found.append(Client(address, name_shown(fields.get("name", "")), fields.get("cmd", "")))
    return found


def client_address(raw: bytes) -> str:
    """Where a client is, as servers write it; empty for anything else, which could be anybody's text."""
    return raw.decode() if _ADDRESS.fullmatch(raw) else ""


def name_shown(name: str) -> str:
    """A name that a client gave itself: cut, and hidden where it may be a person's."""
    return named(name)[:LONGEST_NAME]


def described(address: str, name: str) -> str:
    """A client in words: ``10.0.0.7:4242 (reports)``; empty where nothing is known."""
    return f"{address} ({name})" if name and address else address or name

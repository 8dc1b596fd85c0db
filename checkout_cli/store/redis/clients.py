"""Who is connected to a server, by its CLIENT LIST (Redis documentation, "CLIENT LIST")."""

from __future__ import annotations

from typing import NamedTuple

LONGEST_NAME = 64
"""Characters of a client's name that are shown; it may give itself any."""


class Client(NamedTuple):
    """A connection: its address, the name that it gave itself, and its last command, as ``config|get``."""

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
            found.append(Client(fields["addr"], fields.get("name", "")[:LONGEST_NAME], fields.get("cmd", "")))
    return found


def described(address: str, name: str) -> str:
    """A client in words: ``10.0.0.7:4242 (reports)``; empty where nothing is known."""
    return f"{address} ({name})" if name and address else address or name

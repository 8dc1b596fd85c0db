"""The scripts, each of them one step: ``claim.lua``, ``publish.lua`` and ``forget.lua``."""

from __future__ import annotations

from typing import NamedTuple

from checkout_cli.store.protocol.value import Value
from tests.model.guards import Guards
from tests.model.state import Server


class Replacement(NamedTuple):
    """The arguments of ``publish.lua``: ``fill`` puts a value where nothing lies, else ``expected`` must lie there."""

    fill: bool
    expected: Value | None
    token: bytes
    new: Value | None
    entry: str = "keep"
    blind: bool = False
    """Whatever lies there: only without the guard."""


class Reply(NamedTuple):
    """Whether it was done; if not, what lies there."""

    done: bool
    there: Value | None = None


def claim(server: Server, token: bytes) -> tuple[Server, bool]:
    """``claim.lua`` where the key is missing: whether the claim is ours now."""
    if server.claim:
        return server, False
    return server._replace(claim=token), True


def replace(guards: Guards, server: Server, script: Replacement) -> tuple[Server, Reply]:
    """``publish.lua``."""
    value = server.value
    missed = server._replace(claim=b"") if guards.claims_end_at_a_miss else server
    if script.fill:
        if value is not None:
            return server, Reply(done=False, there=value)
        ours = bool(script.token) and server.claim == script.token
        if not (ours or (script.token and not guards.fills_by_claim)):
            return missed, Reply(done=False)
    elif value != script.expected and not script.blind:
        return (missed, Reply(done=False)) if value is None else (server, Reply(done=False, there=value))
    pending = {"add": True, "remove": False, "keep": server.pending}[script.entry]
    ends = guards.claims_end_at_a_deletion if script.new is None else guards.claims_end_at_a_write
    ended = b"" if script.fill or ends else server.claim
    return server._replace(value=script.new, claim=ended, pending=pending), Reply(done=True)


def forget(guards: Guards, server: Server, seen: Value | None) -> Server:
    """``forget.lua``."""
    if server.value != seen and guards.forgets_what_it_saw:
        return server
    return server._replace(pending=False)

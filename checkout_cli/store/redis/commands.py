"""Commands as they are sent to Redis: text as bytes, scripts by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from checkout_cli.errors import CheckoutError, InvalidInput
from checkout_cli.store.redis.replies import SHAPES, Shape, anything, integer, texts

Command = tuple[bytes | str | int | float, ...]

_KEYLESS = frozenset({"PING", "TIME", "INFO", "SCAN", "CLUSTER", "SCRIPT"})


class Script:
    """A ``.lua`` file in the ``scripts`` of a package, called by its digest."""

    def __init__(self, name: str, package: str = "checkout_cli.store.redis", *, reply: Shape = integer) -> None:
        """``reply`` is the shape of its return value."""
        self.reply = reply
        self.text = files(package).joinpath("scripts", f"{name}.lua").read_bytes()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()

    def call(self, key: bytes, *arguments: bytes | str | int | float) -> Command:
        """The command that runs it on one key."""
        return self.call_on([key], *arguments)

    def call_on(self, keys: Sequence[bytes | str], *arguments: bytes | str | int | float) -> Command:
        """The command that runs it on several keys; in a cluster, of one slot."""
        named = (key if isinstance(key, bytes) else encoded(key) for key in keys)
        return ("EVALSHA", self.digest, len(keys), *named, *arguments)


SCRIPTS: dict[str, Script] = {}
"""All scripts by their digest, for a server that does not know one yet."""


@cache
def script_names() -> dict[str, str]:
    """The names of all our scripts by digest, loaded or not, to recognise them in a server's log."""
    return {
        Script(file.name[:-4], package).digest: file.name[:-4]
        for package in ("checkout_cli.store.redis", "checkout_cli.domain")
        for file in files(package).joinpath("scripts").iterdir()
        if file.name.endswith(".lua")
    }


def register(script: Script) -> Script:
    """Let a script be sent: a server that does not know it gets it."""
    SCRIPTS[script.digest] = script
    return script


def checked(reply: Any, *expected: type[CheckoutError]) -> Any:
    """A reply; raises it if it is an error, and none of the expected ones."""
    if isinstance(reply, CheckoutError) and not isinstance(reply, expected):
        raise reply
    return reply


def pairs(replies: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Replies that belong together two by two, such as names and values, or members and scores."""
    return list(zip(replies[::2], replies[1::2], strict=True))


def encoded(text: str) -> bytes:
    """Text as the bytes in Redis, also where an external writer's were not UTF-8; raises ``InvalidInput``."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInput("half of a surrogate pair is no text that Redis can hold") from None


def decoded(raw: bytes) -> str:
    """The reverse of :func:`encoded`."""
    return raw.decode("utf-8", "surrogateescape")


def key_of(command: Command) -> bytes | None:
    """The (first) key of a command; ``None`` without one."""
    if command[0] == "EVALSHA":
        key = command[3]
    elif len(command) < 2 or command[0] in _KEYLESS:
        return None
    elif command[:2] == ("MEMORY", "USAGE"):
        key = command[2]
    else:
        key = command[1]
    return key if isinstance(key, bytes) else encoded(str(key))


def shape_of(command: Command) -> Shape:
    """The shape of a command's reply; any for a command that this package never sends."""
    name = str(command[0])
    if name == "EVALSHA":
        return SCRIPTS[str(command[1])].reply
    if command[-1] == "WITHSCORES":
        return SHAPES.get(f"{name} WITHSCORES", anything)
    if name == "ZRANGE":
        return texts
    return SHAPES.get(name) or SHAPES.get(" ".join(map(str, command[:2])), anything)


def misshapen(commands: Sequence[Command], replies: Sequence[Any]) -> str | None:
    """The name of the first command whose reply has not the shape of its own; error replies have any."""
    if len(commands) == 1:  # as nearly always
        return None if _is_shaped(commands[0], replies[0]) else str(commands[0][0])
    for command, reply in zip(commands, replies, strict=True):
        if not _is_shaped(command, reply):
            return str(command[0])
    return None


def _is_shaped(command: Command, reply: Any) -> bool:
    shape = SHAPES.get(command[0]) or shape_of(command)  # type: ignore[arg-type]
    return shape(reply) or isinstance(reply, Exception)

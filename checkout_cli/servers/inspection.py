"""A Redis server's answers about itself: INFO and CONFIG GET, each asked once, and others.

Managed services rename commands away and ACL rules deny them: then a question raises ``CommandUnknown`` or
``CommandDenied`` each time, and :func:`missing_grant` names what is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, ReplyTooLarge, WrongServer, value_of
from checkout_cli.store.redis.clients import Client, client_address
from checkout_cli.store.redis.clients import parsed as parsed_clients
from checkout_cli.store.redis.commands import Command, decoded
from checkout_cli.store.redis.questions import KeyQuestions
from checkout_cli.store.redis.server import RedisServer

T = TypeVar("T")
_SECRET_SETTINGS = ("requirepass", "masterauth", "primaryauth", "masteruser", "primaryuser", "-pass")


class Info:
    """The fields of INFO (Redis documentation, "INFO"), by section and by name."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]]) -> None:
        """``sections`` are by their title in lower case, as ``memory``."""
        self.sections = sections
        self._fields = {name: value for section in sections.values() for name, value in section.items()}

    @classmethod
    def parse(cls, raw: bytes) -> Info:
        """The reply to INFO; lines of another form are left out."""
        sections: dict[str, dict[str, str]] = {}
        section = sections.setdefault("", {})
        for line in decoded(raw).splitlines():
            if line.startswith("#"):
                section = sections.setdefault(line[1:].strip().lower(), {})
                continue
            name, colon, value = line.partition(":")
            if colon:
                section[name] = value
        return cls({title: fields for title, fields in sections.items() if fields or title})

    def text(self, name: str) -> str | None:
        """A field, if the server has it."""
        return self._fields.get(name)

    def integer(self, name: str) -> int | None:
        number = self.number(name)
        return None if number is None else int(number)

    def number(self, name: str) -> float | None:
        """A number, without the per cent sign that some have."""
        try:
            number = float(self._fields[name].removesuffix("%"))
        except (KeyError, ValueError):
            return None
        return number if math.isfinite(number) else None

    def version(self, name: str = "redis_version") -> tuple[int, int] | None:
        """The major and minor version; ``None`` where this server does not tell it."""
        numbers = [int(part) for part in (self.text(name) or "").split(".")[:2] if part.isdecimal()]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else None

    def parts(self, name: str) -> dict[str, str]:
        """The parts of a field such as ``cmdstat_get``: ``calls=21,usec=175``; empty where there is none."""
        pairs = (part.partition("=") for part in self._fields.get(name, "").split(","))
        return {key: value for key, equals, value in pairs if equals}

    def names(self, beginning: str) -> list[str]:
        """The names of fields that begin so, as all ``cmdstat_…``."""
        return [name for name in self._fields if name.startswith(beginning)]


class SlowCommand(NamedTuple):
    """An entry of the slow log (Redis documentation, "SLOWLOG GET")."""

    number: int
    at: int
    """Milliseconds since the epoch."""
    microseconds: int
    arguments: list[bytes]
    client: str = ""
    client_name: str = ""


class LatencyEvent(NamedTuple):
    """The latest and the longest pause of one kind (Redis documentation, "LATENCY LATEST")."""

    name: bytes
    at: int
    """Milliseconds since the epoch."""
    latest: int
    longest: int


class Inspector(KeyQuestions):
    """One server's answers about itself; raises ``CommandDenied``, ``CommandUnknown`` or ``RedisUnavailable``."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._answers: dict[str, Any] = {}

    @property
    def place(self) -> str:
        return self.server.place

    def replies(self, *commands: Command) -> list[Any]:
        """The replies to several commands in one round trip, with errors as ``CheckoutError`` objects."""
        return self.server.exchange(commands)[1]

    def _ask(self, *command: bytes | str | int | float) -> Any:
        return self.server.ask(command)

    def info(self) -> Info:
        """All sections of INFO, as first answered."""
        return self._once("info", lambda: Info.parse(self._ask("INFO", "all")))

    def config(self) -> dict[str, str]:
        """All settings of the server but its secrets, as first answered."""
        return self._once("config", lambda: _without_secrets(self.server.config("*")))

    def forget(self) -> None:
        """Ask anew from now on."""
        self._answers.clear()

    def _once(self, question: str, ask: Callable[[], T]) -> T:
        if question not in self._answers:
            try:
                self._answers[question] = ask()
            except (CommandDenied, CommandUnknown, ReplyTooLarge, WrongServer) as refusal:
                self._answers[question] = refusal
        answer: T | CheckoutError = self._answers[question]
        if isinstance(answer, CheckoutError):
            raise answer
        return answer

    def ping(self) -> None:
        self._ask("PING")

    def time(self) -> int:
        """The server's clock, in milliseconds since the epoch."""
        seconds, microseconds = self._ask("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    def client_list(self) -> bytes:
        """Who is connected, a line each (CLIENT LIST); nothing where that is denied."""
        reply = value_of(self.replies(("CLIENT", "LIST"))[0], CommandDenied, CommandUnknown)
        return reply if isinstance(reply, bytes) else b""

    def cluster_info(self) -> Info:
        return Info.parse(self._ask("CLUSTER", "INFO"))

    def user_rules(self) -> list[str]:
        """The users and their rules, one line each."""
        return [decoded(rule) for rule in self._ask("ACL", "LIST")]

    def memory_stats(self) -> dict[str, Any]:
        raw = self._ask("MEMORY", "STATS")
        return {decoded(name): value for name, value in zip(raw[::2], raw[1::2], strict=True)}

    def slow_commands(self, limit: int) -> list[SlowCommand]:
        """The newest entries of the slow log."""
        return [
            SlowCommand(
                int(raw[0]),
                int(raw[1]) * 1000,
                int(raw[2]),
                [part for part in raw[3] if isinstance(part, bytes)],
                client_address(raw[4]) if len(raw) > 4 and isinstance(raw[4], bytes) else "",  # before Redis 4 without
                decoded(raw[5]) if len(raw) > 5 and isinstance(raw[5], bytes) else "",
            )
            for raw in self._ask("SLOWLOG", "GET", limit)
        ]

    def clients(self) -> list[Client]:
        """Who is connected; nobody where that is denied."""
        return parsed_clients(self.client_list())

    def slow_log_length(self) -> int:
        return int(self._ask("SLOWLOG", "LEN"))

    def empty_slow_log(self) -> None:
        self._ask("SLOWLOG", "RESET")

    def latency_events(self) -> list[LatencyEvent]:
        """The kinds of long pauses that the latency monitor has measured."""
        return [
            LatencyEvent(event[0], int(event[1]) * 1000, int(event[2]), int(event[3]))
            for event in self._ask("LATENCY", "LATEST")
        ]

    def latency_histories(self, names: Sequence[bytes]) -> list[Any]:
        """The moments (s) and lengths (ms) of each kind's pauses, refusals among the answers."""
        return self.replies(*(("LATENCY", "HISTORY", name) for name in names)) if names else []

    def latency_advice(self) -> Any:
        return self._ask("LATENCY", "DOCTOR")


def _without_secrets(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if not name.endswith(_SECRET_SETTINGS)}


def missing_grant(refusal: CheckoutError) -> str | None:
    """What is needed where a command is denied or unknown; ``None`` for any other error."""
    if isinstance(refusal, CommandDenied):
        return f"needs {refusal.grant}" if refusal.grant else "needs permission for this key"
    if isinstance(refusal, CommandUnknown):
        return f"this server has no {refusal.command}: renamed away, or removed by its provider"
    return None

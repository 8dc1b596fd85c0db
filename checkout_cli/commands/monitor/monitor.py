"""``monitor``: the commands of a Redis for a short while, without anybody's data."""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import StrEnum

from checkout_cli.config.addresses import split_address
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CommandUnknown, ExitCode, InvalidInput, RedisUnavailable
from checkout_cli.keys import Family
from checkout_cli.servers.command_shape import CommandShape, shape_of
from checkout_cli.servers.per_server import Partial
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.monitor import Line, MonitorStream, is_script

MOST_SECONDS = 300.0
MOST_BEHIND = 1.0
"""Seconds that we may lag: the server keeps unread commands in its memory."""
_POLL = 0.1


class Stopped(StrEnum):
    """Why it ended."""

    TIME = "time is up"
    COUNT = "enough commands"
    BEHIND = "the server is faster than we can read"
    BROKEN = "the connection broke"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Seen:
    """One command without its values; ``at`` is in milliseconds, by the server's clock."""

    JSON_KEYS = (
        "at@ server=place client clientName?=client_name command=shape.name key=shape.key family=shape.family "
        "otherArguments=shape.others"
    )

    at: int
    place: str
    client: str
    shape: CommandShape
    client_name: str = ""


@dataclass(frozen=True)
class Rate:
    """The count of a command on a family of keys (empty: without a key)."""

    JSON_KEYS = "command family? count perSecond:3"

    command: str
    family: str
    count: int
    seconds: float

    @property
    def per_second(self) -> float | None:
        return self.count / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class MonitorSummary(Partial):
    """The result: ``seen`` commands in ``seconds``, of which ``matched`` were asked for; the most frequent first.

    ``missing`` are servers of a cluster that could not be watched, or not to the end.
    """

    JSON_KEYS = "seconds:3 seen matched stopped partial missingServers=missing rates"

    seconds: float
    seen: int
    matched: int
    rates: tuple[Rate, ...]
    stopped: Stopped
    missing: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """130 after Ctrl-C; whatever else ended it was to be expected."""
        return ExitCode.INTERRUPTED if self.stopped is Stopped.INTERRUPTED else ExitCode.OK


class Monitor:
    """Watches for a while: iterate over :meth:`events`, then take the :meth:`summary`."""

    def __init__(
        self,
        settings: Settings,
        *,
        seconds: float = 10.0,
        count: int | None = None,
        families: Collection[str] = (),
        commands: Collection[str] = (),
        elapsed: Callable[[], float] = time.monotonic,
        began: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``began`` is called with the place of each server that is watched."""
        if not 0 < seconds <= MOST_SECONDS:  # NaN is neither
            raise InvalidInput(f"--seconds is from 0 to {MOST_SECONDS:g}", hint="checkoutctl monitor --seconds 10")
        unknown = set(families) - {str(family) for family in Family}
        if unknown:
            raise InvalidInput(f"no family is called {min(unknown)[:32]!r}", hint=", ".join(Family))
        self._settings = settings
        self._seconds = seconds
        self._count = count
        self._families = frozenset(families)
        self._commands = frozenset(command.upper() for command in commands)
        self._elapsed = elapsed
        self._began = began
        self._rates: Counter[tuple[str, str]] = Counter()
        self._seen = self._matched = 0
        self._started: float | None = None
        self._ended: float | None = None
        self._stopped = Stopped.INTERRUPTED
        self._missing: list[str] = []

    def summary(self) -> MonitorSummary:
        """The result so far."""
        now = self._ended or self._elapsed()
        seconds = 0.0 if self._started is None else now - self._started
        rates = tuple(Rate(*names, number, seconds) for names, number in self._rates.most_common())
        return MonitorSummary(seconds, self._seen, self._matched, rates, self._stopped, tuple(self._missing))

    def events(self) -> Iterator[Seen | None]:
        """Each command that was asked for, and ``None`` now and then while there is none.

        Raises:
            CommandDenied, CommandUnknown: MONITOR is refused.
            RedisUnavailable: no server answers.
        """
        with ExitStack() as stack:
            streams = self._begun(stack)
            self._started = self._elapsed()
            try:
                yield from self._watched(streams, self._started + self._seconds)
            finally:
                self._ended = self._elapsed()

    def _begun(self, stack: ExitStack) -> list[MonitorStream]:
        streams: list[MonitorStream] = []
        refusal: RedisUnavailable | None = None
        for stream in self._streams():
            try:
                streams.append(stack.enter_context(stream))
                self._began(stream.place)
            except CommandUnknown:
                raise
            except RedisUnavailable as error:
                refusal = error
                self._missing.append(stream.place)
        if refusal is not None and not streams:
            raise refusal
        return streams

    def _streams(self) -> list[MonitorStream]:
        if not self._settings.is_cluster:
            return [MonitorStream(self._settings, None, self._settings.redis_place)]
        with closing(RedisAdmin(self._settings)) as redis:
            places = [server.place for server in redis.servers()]
        return [MonitorStream(self._settings, split_address(place), place) for place in places]

    def _watched(self, streams: list[MonitorStream], end: float) -> Iterator[Seen | None]:
        first: dict[str, float] = {}
        while True:
            left = end - self._elapsed()
            if left <= 0:
                self._stopped = Stopped.TIME
                return
            anything = False
            for stream in list(streams):
                try:
                    for line in stream.lines():
                        anything = True
                        found = self._noted(stream, line)
                        if found is not None:
                            yield found
                            if self._count is not None and self._matched >= self._count:
                                self._stopped = Stopped.COUNT
                                return
                except RedisUnavailable:
                    streams.remove(stream)
                    self._missing.append(stream.place)
                    if not streams:
                        self._stopped = Stopped.BROKEN
                        return
                    continue
                if anything and self._is_behind(first, stream.place, line.at):
                    self._stopped = Stopped.BEHIND
                    return
            if not anything:
                yield None
                select.select(streams, [], [], min(left, _POLL))

    def _is_behind(self, first: dict[str, float], place: str, at: int) -> bool:
        """Whether the last line is older than when we began to read: by the difference of the two clocks then."""
        apart = self._elapsed() - at / 1_000_000
        return apart - first.setdefault(place, apart) > MOST_BEHIND

    def _noted(self, stream: MonitorStream, line: Line) -> Seen | None:
        if is_script(line):  # its client's command has been seen
            return None
        self._seen += 1
        shape = shape_of(line.arguments)
        family = str(shape.family or "")
        if self._families and family not in self._families:
            return None
        if self._commands and self._commands.isdisjoint({shape.name, shape.name.partition(" ")[0]}):
            return None
        self._matched += 1
        self._rates[shape.name, family] += 1
        return Seen(line.at // 1000, stream.place, line.client, shape, stream.names.get(line.client, ""))

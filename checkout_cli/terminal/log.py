"""The log: Redis operations and the library's notes, where ``DEBUG`` asks for them. Never a value; ids are cut.

``DEBUG`` is a list of names with ``*`` anywhere, commas or spaces between; ``-name`` excludes. Redis operations are
``redis:session``, ``redis:index``, ``redis:delivery``, ``redis:coupon``, ``redis:user``, ``redis:stats``, ``redis:own``
(locks and the like), ``redis:other`` and ``redis:server`` (no key); everything else is ``checkout:store``,
``checkout:domain``, ``checkout:operations``, ``checkout:audit`` or ``checkout:web``.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from checkout_cli.config.settings import VARIABLES
from checkout_cli.errors import ConfigurationError
from checkout_cli.files.atomic_file import NotOurs, open_own
from checkout_cli.keys import Family
from checkout_cli.privacy.personal_ids import without_personal
from checkout_cli.session import iso
from checkout_cli.terminal.output import is_terminal, warn
from checkout_cli.terminal.safe import safe
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

ROOT = "checkout_cli"
LARGEST_FILE, FILES_KEPT = 10_000_000, 5
"""Bytes of a log file before it is rotated, and the number of old ones."""
_BEGINNING = 200
_OUR_LINE = re.compile(
    rb'[0-9-]{10}T[0-9:.]{12}Z [0-9a-f]{8} (?:redis|checkout):|\{"timestamp": "[^"]*", "level": "[a-z]*", "traceId": '
)
"""How a log of ours begins, as text and as JSON."""
STDERR = frozenset({"/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"})
STDOUT = frozenset({"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
"""Names of our own streams, as containers give them; they are written to as they are, and never opened anew."""
_WORDS: dict[str, str] = {Family.SESSIONS: "session", Family.USERS: "user", Family.OURS: "own"}


class Wanted:
    """The names that a value of ``DEBUG`` asks for."""

    def __init__(self, debug: str) -> None:
        names = [name for name in re.split(r"[\s,]+", debug) if name.strip("-")]
        self._in = [_pattern(name) for name in names if not name.startswith("-")]
        self._out = [_pattern(name[1:]) for name in names if name.startswith("-")]

    def __bool__(self) -> bool:
        return bool(self._in)

    def __contains__(self, name: str) -> bool:
        return any(one.fullmatch(name) for one in self._in) and not any(one.fullmatch(name) for one in self._out)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, name.split("*"))))


def configure_logging(settings: Settings) -> None:
    """Log what ``DEBUG`` asks for, and warnings, to ``LOG_FILE`` or stderr; again after another call."""
    wanted = Wanted(settings.debug)
    if not wanted and not settings.log_file:
        return
    handlers = _handlers(settings.log_file)
    chosen = _Chosen(wanted, secrets.token_hex(4))
    for handler in handlers:
        handler.addFilter(chosen)
        handler.setFormatter(_JsonLine() if settings.log_format == "json" else _TextLine())
    logger = logging.getLogger(ROOT)
    for before in logger.handlers:
        before.close()
    logger.handlers = handlers
    logger.setLevel(logging.DEBUG if wanted else logging.WARNING)
    logger.propagate = not handlers


def logs_to_terminal(settings: Settings) -> bool:
    """Whether the log goes to where a person looks."""
    stream = _stream(settings.log_file)
    return bool(settings.debug) and stream is not None and is_terminal(stream)


def _stream(name: str) -> TextIO | None:
    """Our own stream that ``LOG_FILE`` names, stderr where it is empty; ``None`` for a file."""
    if not name or name in STDERR:
        return sys.stderr
    return sys.stdout if name in STDOUT else None


def _handlers(name: str) -> list[logging.Handler]:
    stream = _stream(name)
    if stream is not None:
        return [_Console(stream)]
    try:
        path = Path(name).expanduser()
        if _is_of_another_program(path):
            warn(f"LOG_FILE {path} is another program's log, so nothing is logged: set LOG_FILE to a file of its own")
            return []
        return [_LogFile(path)]
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path; a "~user" who is unknown
        shown, reason = VARIABLES["log_file"].masked(name), getattr(error, "strerror", None) or error
        warn(f"LOG_FILE {shown} cannot be written, so nothing is logged: {reason}")
        return []


def _is_of_another_program(path: Path) -> bool:
    """Whether a file has other lines than ours: other programs have a LOG_FILE too, and we would rotate it."""
    if path.is_symlink() or not path.is_file():  # which opening it refuses, where it must
        return False
    with path.open("rb") as stream:
        beginning = stream.read(_BEGINNING)
    return bool(beginning) and _OUR_LINE.match(beginning) is None


class _Console(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's own name)
        """Nobody reads stderr any more, which is no reason to stop."""


class _LogFile(RotatingFileHandler):
    """A file that only its owner can read, rotated by size."""

    def __init__(self, path: Path) -> None:
        self._told = False
        super().__init__(path, maxBytes=LARGEST_FILE, backupCount=FILES_KEPT, encoding="utf-8")

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=_own_file)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  (logging's own name)
        """Warn once: the command still does its job."""
        error = sys.exc_info()[1]
        if not self._told:
            self._told = True
            reason = getattr(error, "strerror", None) or type(error).__name__
            warn(f"LOG_FILE {self.baseFilename} cannot be written, so the log has gaps: {reason}")

    def close(self) -> None:
        """Report what cannot be written at the end either."""
        try:
            super().close()
        except OSError:
            self.handleError(logging.makeLogRecord({}))


def _own_file(name: str, flags: int) -> int:
    try:
        return open_own(name, flags)
    except NotOurs as error:
        raise ConfigurationError(f"LOG_FILE {name}: {error.strerror}", hint=typed("ls -ld {}", name)) from error


class _Chosen(logging.Filter):
    """Passes what is wanted, and every warning; marks each with its name and the run's id."""

    def __init__(self, wanted: Wanted, trace: str) -> None:
        super().__init__()
        self._wanted = wanted
        self._trace = trace

    def filter(self, record: logging.LogRecord) -> bool:
        name = namespace_of(record)
        record.__dict__ |= {"namespace": name, "trace": self._trace}
        return record.levelno >= logging.WARNING or name in self._wanted


def namespace_of(record: logging.LogRecord) -> str:
    """The record's name in ``DEBUG``."""
    operation = getattr(record, "operation", None)
    if isinstance(operation, dict):
        family = operation.get("family") or "server"
        return f"redis:{_WORDS.get(family, family)}"
    rest = record.name.removeprefix(f"{ROOT}.")
    return "redis:server" if rest == "redis" else f"checkout:{rest.partition('.')[0]}"


class _TextLine(logging.Formatter):
    """``2024-01-15T10:30:00.000Z 1f0c2ab3 redis:session GETEX checkout:session:1f0c2ab3… 0.142 ms ok``."""

    def format(self, record: logging.LogRecord) -> str:
        name, trace = getattr(record, "namespace", ""), getattr(record, "trace", "")
        begin = f"{iso(round(record.created * 1000))} {trace} {name}"
        operation = getattr(record, "operation", None)
        if not isinstance(operation, dict):
            return safe(f"{begin} {record.levelname.lower()}: {without_personal(record.getMessage())}")
        subject = " ".join(str(word) for word in (operation["command"], operation["key"]) if word)
        return safe(
            f"{begin} {subject} {operation['duration_ms']:.3f} ms {without_personal(str(operation['outcome']))}"
        )


class _JsonLine(logging.Formatter):
    """One JSON object a line, in ASCII, so that no control character reaches a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        operation = getattr(record, "operation", None)
        line: dict[str, object] = {"timestamp": iso(round(record.created * 1000)), "level": record.levelname.lower()}
        line |= {"traceId": getattr(record, "trace", ""), "namespace": getattr(record, "namespace", "")}
        if isinstance(operation, dict):
            line |= {"durationMs" if name == "duration_ms" else str(name): operation[name] for name in operation}
        else:
            line["message"] = without_personal(record.getMessage())
        return json.dumps(line, ensure_ascii=True, default=str)

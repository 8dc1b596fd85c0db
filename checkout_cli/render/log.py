"""The debug log: every Redis operation on stderr, where ``DEBUG`` asks for it. Never a value, ids shortened."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checkout_cli.render.safe import safe

if TYPE_CHECKING:
    from checkout_cli.settings import Settings

LOGGER = "checkout_cli.redis"
_PATTERNS = frozenset({"*", "redis", "redis:*"})


def configure_logging(settings: Settings) -> None:
    """Log Redis operations to stderr if ``DEBUG`` names ``redis:*`` or ``*``; else leave logging alone."""
    if not wanted(settings.debug):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLine() if settings.log_format == "json" else _TextLine())
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]  # replaced, not added to: no line twice when settings are loaded twice
    logger.setLevel(logging.DEBUG)
    logger.propagate = False


def wanted(debug: str) -> bool:
    """Whether a value of ``DEBUG``, a list as other programs know it, asks for the Redis log."""
    names = set(re.split(r"[\s,]+", debug))
    return bool(names & _PATTERNS) and "-redis:*" not in names


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextLine(logging.Formatter):
    """``2024-01-15T10:30:00.000Z redis GETEX checkout:session:1f0c2ab3… 0.142 ms ok``."""

    def format(self, record: logging.LogRecord) -> str:
        operation = getattr(record, "operation", None)
        if not isinstance(operation, dict):
            return safe(f"{_moment(record)} {record.levelname.lower()} {record.getMessage()}")
        words = (operation["tier"], operation["command"], operation["key"])
        subject = " ".join(str(word) for word in words if word)
        return safe(f"{_moment(record)} {subject} {operation['duration_ms']:.3f} ms {operation['outcome']}")


class _JsonLine(logging.Formatter):
    """One JSON object a line, ASCII only, so that nothing in it can reach a terminal's control characters."""

    def format(self, record: logging.LogRecord) -> str:
        operation = getattr(record, "operation", None)
        line: dict[str, object] = {"timestamp": _moment(record), "level": record.levelname.lower()}
        if isinstance(operation, dict):
            line |= {"durationMs" if name == "duration_ms" else str(name): operation[name] for name in operation}
        else:
            line["message"] = record.getMessage()
        return json.dumps(line, ensure_ascii=True, default=str)

"""The slow log as tables: totals, then the entries; keys are shortened and values never shown."""

from __future__ import annotations

from collections.abc import Mapping

from checkout_cli.commands.ping.view import milliseconds
from checkout_cli.commands.slowlog.slowlog import Emptied, Entry, ServerSlowLog
from checkout_cli.servers.per_server import PerServer
from checkout_cli.store.redis.clients import described
from checkout_cli.terminal.document import document
from checkout_cli.terminal.key_names import key_shown
from checkout_cli.terminal.listing import Listing
from checkout_cli.terminal.output import (
    by_server,
    columns_of,
    narrate,
    warn,
    warn_if_partial,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.terminal.safe import safe
from checkout_cli.units import span

_TOTALS = columns_of("command", "keys", "#calls", "#total ms", "#longest ms", "#share")
_ENTRIES = columns_of("#age", "#ms", "command", "key", "others", "client")
_CSV = ("server", "number", "at", "durationMs", "command", "key", "family", "otherArguments", "client")
_MOST_CALLERS = 3
"""Clients that a warning names."""
_HIGH = 1.0
"""Seconds: with such a threshold hardly anything is ever logged."""
_ENABLE = "redis-cli CONFIG SET slowlog-log-slower-than 10000"


def show_slow_log(report: PerServer[ServerSlowLog], output: str) -> None:
    """Totals and entries as ``json`` or as tables, otherwise one entry a line; problems of the log on stderr."""
    if output == "json":
        write_json(report)
    elif output == "table":
        for server in by_server(report.servers):
            _show(server, report.timestamp)
    else:
        Listing(
            "entries",
            [entry for server in report.servers for entry in server.entries],
            columns=(),
            row=lambda _: (),
            document=lambda entry: {"server": entry.place, **document(entry)},
            id_of=lambda entry: f"{entry.number}",
            csv=_CSV,
            nothing="the slow log is empty",
        ).show(output)
    for server in report.servers:
        _warn(server)
    warn_if_partial(report.missing)


def _show(server: ServerSlowLog, now: int) -> None:
    total = sum(entry.seconds for entry in server.entries)
    if server.entries:
        write_table(
            _TOTALS,
            [
                (
                    group.name,
                    group.family,
                    f"{group.calls:,}",
                    milliseconds(group.total),
                    milliseconds(group.longest),
                    f"{group.total / total:.0%}" if total else "",
                )
                for group in server.totals
            ],
        )
        write_line()
        write_table(_ENTRIES, [_row(entry, now) for entry in server.entries])
        write_line()
    write_line(f"{len(server.entries)} of {server.length:,} entries; {_settings(server)}")


def _settings(server: ServerSlowLog) -> str:
    if server.threshold is None:
        return f"what counts as slow is unknown: {server.unknown}"
    if server.threshold < 0:
        return "it is off"
    kept = "" if server.size is None else f", the last {server.size:,} are kept"
    return f"{milliseconds(server.threshold)} ms or more are logged{kept}"


def _row(entry: Entry, now: int) -> tuple[str, ...]:
    shape = entry.shape
    key = "" if shape.key is None else key_shown(shape.key)
    return span(now - entry.at), milliseconds(entry.seconds), shape.name, key, f"+{shape.others}", _client(entry)


def _client(entry: Entry) -> str:
    return safe(described(entry.client, entry.client_name))


def _warn(server: ServerSlowLog) -> None:
    if server.threshold is not None and server.threshold < 0:
        warn(f"the slow log is off; next: {_ENABLE}")
    elif server.threshold is not None and server.threshold >= _HIGH:
        warn(f"only what takes {server.threshold:g} s or more is logged; next: {_ENABLE}")
    if callers := dict.fromkeys(_client(entry) for entry in server.entries if entry.shape.name == "KEYS"):
        named = ", ".join(list(filter(None, callers))[:_MOST_CALLERS])
        by = f" ({named})" if named else ""
        warn(f"somebody uses KEYS{by}, which keeps every shopper waiting: SCAN does the same in small steps")


def describe_reset(lengths: Mapping[str, int]) -> str:
    several = f" of {len(lengths)} servers" if len(lengths) > 1 else ""
    return f"the slow log{several} has {sum(lengths.values()):,} entries; they cannot be brought back"


def show_emptied(emptied: Emptied, *, as_json: bool) -> None:
    """The outcome of a reset."""
    if as_json:
        write_json(emptied)
    elif emptied.done:
        narrate(f"dropped {emptied.entries:,} entries")
    else:
        narrate("nothing was dropped: --dry-run")
    warn_if_partial(emptied.missing)

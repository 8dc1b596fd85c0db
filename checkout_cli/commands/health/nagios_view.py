"""Health as monitoring plugins tell it: one line, figures behind a bar (Monitoring Plugins Development Guidelines)."""

from __future__ import annotations

from enum import IntEnum

from checkout_cli.commands.health.health import HealthReport, Status
from checkout_cli.commands.sync.view import pending_text
from checkout_cli.terminal.output import leave_next_out, write_line
from checkout_cli.terminal.safe import safe


class State(IntEnum):
    """What a plugin exits with."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_OF_STATUS = {Status.HEALTHY: State.OK, Status.DEGRADED: State.WARNING, Status.UNHEALTHY: State.CRITICAL}


def show_nagios(report: HealthReport) -> State:
    """The line on stdout; with a wrong configuration nothing is known of the tiers."""
    if report.configuration is not None:
        return show_unknown(str(report.configuration))
    state = State.CRITICAL if report.is_at_risk else _OF_STATUS[report.status]
    count = report.sessions.count
    told = [report.status, *([] if count is None else [f"{count.number:,} sessions"]), *map(str, report.problems)]
    told += [pending_text(report.pending, report.timestamp)] if report.is_at_risk else []
    _write(state, "; ".join(told), _figures(report))
    return state


def show_unknown(reason: str) -> State:
    """The line where nothing could be asked."""
    _write(State.UNKNOWN, reason, "")
    return State.UNKNOWN


def _write(state: State, text: str, figures: str) -> None:
    leave_next_out()
    line = f"CHECKOUT {state.name}: {' '.join(safe(text).split())}".replace("|", "/")  # a bar begins the figures
    write_line(f"{line} | {figures}" if figures else line)


def _figures(report: HealthReport) -> str:
    """``label=value[unit];warn;crit;min;max``, of what is known."""
    figures = []
    for name, tier in (("redis", report.redis), ("database", report.database)):
        if tier.latency is not None:
            figures.append(f"{name}_latency={tier.latency:.6f}s;;;0")
    memory = report.redis.memory
    if memory is not None:
        figures.append(f"redis_memory={memory.used}B;;;0;{memory.limit or ''}")
    if report.sessions.count is not None:
        figures.append(f"sessions={report.sessions.count.number};;;0")
    pending = report.pending
    waiting = {"redis": pending.to_redis, "database": pending.to_database}
    figures += [f"pending_{tier}={number};;;0" for tier, number in waiting.items() if number is not None]
    if pending.conflicts is not None:
        figures.append(f"conflicts={pending.conflicts};;;0")
    if report.external is not None:  # both only grow
        figures.append(f"external_writes={report.external.taken_in}c;;;0")
        figures.append(f"external_conflicts={report.external.conflicts}c;;;0")
    return " ".join(figures)

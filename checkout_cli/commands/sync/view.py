"""A sync, and the pending work that other commands mention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from checkout_cli.commands.sync.sync import PendingCounts, Stuck, SyncReport
from checkout_cli.store.backlog import Waiting
from checkout_cli.store.database_only import PUBLISH
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import (
    narrate,
    warn,
    write_json,
    write_line,
)
from checkout_cli.terminal.safe import safe
from checkout_cli.terminal.short_ids import shortened
from checkout_cli.units import span

# What waits, for other commands


def pending_text(pending: PendingCounts, now: int | None = None) -> str:
    """Pending work in one line, with its age at ``now`` (ms); empty where there is none."""
    parts = []
    if pending.to_redis:
        parts.append(f"{_waits(pending.to_redis, more='' if pending.exact else ' or more')} for Redis")
    if pending.to_database:
        number = f"{pending.to_database:,}" if parts else _waits(pending.to_database)
        parts.append(f"{number} for the database")
    if pending.conflicts:
        parts.append(f"{_waits(pending.conflicts, 'conflict')} for a person")
    if now is not None and pending.oldest is not None:
        parts.append(f"the oldest for {span(now - pending.oldest)}")
    return ", ".join(parts)


def narrate_pending(pending: PendingCounts) -> None:
    if pending.any:
        narrate(f"{pending_text(pending)}; {pending.hint}")


def _counted(number: int, what: str = "session") -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _waits(number: int, what: str = "session", *, more: str = "") -> str:
    return f"{_counted(number, what)}{more} {'waits' if number == 1 else 'wait'}"


# A sync


def show_sync(report: SyncReport, *, as_json: bool, quiet: bool) -> None:
    """Nothing on success with ``quiet``."""
    if as_json:
        stuck = {"count": report.stuck_number, "sessions": [document(one) for one in _named_stuck(report)]}
        write_json({**document(report), "stuck": stuck})
    elif not quiet:
        for line in _lines(report):
            write_line(line)
    for problem in _problems(report):
        warn(problem)


def _lines(report: SyncReport) -> Iterator[str]:
    yield f"database to Redis: {_waiting(report.to_redis, report.now)}"
    yield f"Redis to database: {_waiting(report.to_database, report.now)}"
    conflicts = report.conflicts
    yield f"conflicts: {'unknown' if conflicts is None else f'{conflicts:,}' if conflicts else 'none'}"
    done = (
        ("flushed to the database", report.flushed),
        ("external writes taken in", report.external),
        ("kept as conflicts", report.disputed),
    )
    yield from (f"{what}: {number:,}" for what, number in done if number)
    published = (
        (report.published, "published"),
        (report.already, "there already"),
        (report.not_needed, "settled without a copy there"),
        (report.expired, "expired"),
    )
    if details := ", ".join(f"{number:,} {kind}" for number, kind in published if number):
        yield f"synced to Redis: {details}"
    if report.database_only.number:
        number = f"{report.database_only.number:,}{'' if report.database_only.exact else ' or more'}"
        are = "is" if report.database_only.number == 1 else "are"
        yield f"settled; {number} {are} published at their next read, or now: {PUBLISH}"
    if not report.finished:
        yield "stopped before the end: the next run goes on"


def _waiting(side: Waiting | None, now: int) -> str:
    if side is None:
        return "unknown"
    if not side.number:
        return "nothing waits"
    since = "" if side.since is None else f", the oldest for {span(now - side.since)}"
    return f"{_waits(side.number)}{since}{'' if side.exact else ' or longer'}"


def _problems(report: SyncReport) -> Iterator[str]:
    for away in report.unreachable:
        yield f"not synced: {away}"
    if report.lost:
        gone = "is" if report.lost == 1 else "are"
        yield (
            f"{_counted(report.lost)} {gone} gone from Redis (expired, evicted, or overwritten by an external writer) "
            "before the database had all of it"
        )
    if report.stuck_number:
        reasons = [f"{stuck.reason[:120]}{'…' if len(stuck.reason) > 120 else ''}" for stuck in report.stuck]
        stuck = zip(_named_stuck(report), reasons, strict=True)
        named = ", ".join(f"{one.checkout_id} ({reason})" for one, reason in stuck)
        more = report.stuck_number - len(report.stuck)
        rest = f", and {more:,} more" if more else ""
        yield f"{_counted(report.stuck_number)} cannot be synced: {named}{rest}"
    conflicts = (report.conflicts or 0) + report.disputed
    if conflicts:
        yield f"{_waits(conflicts, 'conflict')} for a person"


def _named_stuck(report: SyncReport) -> list[Stuck]:
    """With short ids: enough for ``sessions show``, too little to use a session."""
    names = shortened([stuck.checkout_id for stuck in report.stuck])
    return [replace(stuck, checkout_id=safe(name)) for name, stuck in zip(names, report.stuck, strict=True)]

"""Migrations: the plan, the run, the comparison, the checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkout_cli.jobs.bounded_run import Stopped
from checkout_cli.session import iso
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import columns_of, narrate, warn, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe
from checkout_cli.terminal.short_ids import shortened
from checkout_cli.typed import typed
from checkout_cli.units import size, span

_STOPPED = {
    Stopped.TIME: "; the time was up",
    Stopped.LOCK_LOST: "; another process has the lock now",
    Stopped.INTERRUPTED: "; interrupted",
}

if TYPE_CHECKING:
    from checkout_cli.commands.migrate.checkpoint import Checkpoint, Counts
    from checkout_cli.commands.migrate.plan import Plan
    from checkout_cli.commands.migrate.run import MigrationReport
    from checkout_cli.commands.migrate.verify import Verified


def show_plan(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        write_json(plan)
    else:
        for line in _plan_lines(plan):
            write_line(line)
    if plan.fits is False:
        warn(
            f"it will not fit: {size((plan.used or 0) + plan.needed)} of {size(plan.limit or 0)}; raise maxmemory first"
        )
    _narrate_rest(plan)


def _narrate_rest(report: Plan | Verified) -> None:
    if not report.finished:
        narrate(f"not finished: the rest (alone) follows with {typed('--cursor {}', report.cursor or '')}")


def _plan_lines(plan: Plan) -> list[str]:
    room = "no limit" if plan.limit == 0 else "unknown" if plan.limit is None else size(plan.limit)
    used = "unknown" if plan.used is None else size(plan.used)
    return [
        (
            f"database: {plan.living:,} living, {plan.expired:,} expired, {plan.tombstones:,} tombstones, "
            f"{plan.pending:,} pending"
        ),
        "in Redis: " + ", ".join(f"{number:,} {state}" for state, number in plan.states.items()),
        f"to do: {plan.to_do:,}, in about {span(plan.seconds * 1000)} at {plan.rate:,} sessions a second",
        (
            f"memory: about {size(plan.needed)} more, from all {plan.states_missing:,} bodies "
            f"({size(plan.body_bytes)}), keys and index"
        ),
        f"Redis: {used} used, limit: {room}",
    ]


def show_run(report: MigrationReport, *, as_json: bool, quiet: bool) -> None:
    checkpoint = report.checkpoint
    if report.from_start_again:
        narrate("Redis has been restarted or replaced since: from the beginning")
    elif report.resumed:
        narrate("gone on from the checkpoint")
    if as_json:
        write_json(report)
    elif not (quiet and report.exit_code == 0):
        write_line(_counts(checkpoint.counts))
    if report.unreachable is not None:
        warn(str(report.unreachable))
    if not report.finished:
        reason = _STOPPED.get(report.stopped, "")
        warn(f"{checkpoint.counts.done:,} of {checkpoint.total_now:,} done{reason}; the same command goes on")
    if checkpoint.counts.dirty:
        warn(f"{checkpoint.counts.dirty:,} with writes that the database lacks were left; checkoutctl sync")
    if checkpoint.counts.left:
        warn(f"{checkpoint.counts.left:,} were being filled by somebody else; in 10 seconds: checkoutctl migrate run")
    if checkpoint.counts.external:
        warn(
            f"{checkpoint.counts.external:,} with an external writer's value were left; "
            "the shop's next read, or checkoutctl sync, takes them in"
        )


def _counts(counts: Counts) -> str:
    text = (
        f"{counts.done:,} sessions: {counts.published:,} published, {counts.updated:,} updated, "
        f"{counts.current:,} current, {counts.ended:,} ended, "
        f"{counts.dirty + counts.external + counts.left:,} left"
    )
    if counts.flushed:
        text += f", {counts.flushed:,} flushed to the database first"
    return f"{text}; {counts.others:,} other keys" if counts.others else text


def show_verified(found: Verified, *, as_json: bool, quiet: bool, to: bool = False) -> None:
    """``to``: two servers were compared."""
    names = [safe(name) for name in shortened([name for name, _ in found.differences])]
    kinds = [str(kind) for _, kind in found.differences]
    if as_json:
        differences = [{"checkoutId": name, "difference": kind} for name, kind in zip(names, kinds, strict=True)]
        counts = document(found, "compared different=number untrusted")
        ended = document(found, "finished nextCursor=cursor")
        write_json({**counts, "toleranceMs": 2000, "differences": differences, **ended})
    elif not (quiet and not found.number):
        if names:
            write_table(columns_of("session", "difference"), list(zip(names, kinds, strict=True)))
        write_line(f"{found.compared:,} compared, {found.number:,} different")
    if found.untrusted and not quiet:
        narrate(f"{found.untrusted:,} are of an earlier run of Redis; their next read asks the database")
    if found.number:
        narrate(f"the way to mend it: checkoutctl migrate run {'--to URL' if to else '--restart'}")
    _narrate_rest(found)


def show_status(checkpoint: Checkpoint | None, *, as_json: bool) -> None:
    if as_json:
        write_json(checkpoint if checkpoint is not None else {"checkpoint": None})
    elif checkpoint is None:
        narrate("no migration has been run by this user; checkoutctl migrate plan")
    else:
        state = "finished" if checkpoint.finished else "not finished; checkoutctl migrate run goes on"
        write_line(f"{safe(checkpoint.source)} to {safe(checkpoint.target)}: {state}")
        write_line(f"started {iso(checkpoint.started_at)}, last step {iso(checkpoint.updated_at)}")
        write_line(f"{checkpoint.counts.done:,} of {checkpoint.total_now:,} done")
        write_line(_counts(checkpoint.counts))

"""How the report of a clean-up looks."""

from __future__ import annotations

from collections.abc import Iterator

from checkout_cli.commands.cleanup.cleanup import Cleanup
from checkout_cli.commands.cleanup.expired import CleanupReport
from checkout_cli.commands.cleanup.orphans import OrphanReport
from checkout_cli.commands.sessions.index_view import counted, named, show_index
from checkout_cli.jobs.clocks import CLOCK_CHECKS
from checkout_cli.terminal.output import warn, warn_if_partial, write_json, write_line
from checkout_cli.units import size


def show_cleanup(cleanup: Cleanup, *, as_json: bool, quiet: bool) -> None:
    """Nothing at all on success with ``quiet``."""
    if cleanup.expired is not None:
        _warn(cleanup.expired)
    if as_json:
        write_json(cleanup)
        return
    if cleanup.expired is not None and not quiet:
        for line in _lines(cleanup.expired):
            write_line(line)
    if cleanup.index is not None and not (quiet and not cleanup.index.exit_code):
        show_index(cleanup.index, as_json=False)
    if cleanup.orphans is not None:
        show_orphans(cleanup.orphans, quiet=quiet)


def _warn(report: CleanupReport) -> None:
    for reason in report.unreachable:
        warn(f"not cleaned up: {reason}")
    if report.left:
        warn(f"{report.left:,} that were due may still live on a server that does not answer: left for the next run")
    warn_if_partial(report.missing)
    if report.clocks is not None:
        warn(f"{report.clocks}; only what has ended by both was removed: checkoutctl doctor --only {CLOCK_CHECKS}")
    if report.without_expiry:
        warn(
            f"{report.without_expiry} sessions have no time to live and will never end by themselves: "
            "checkoutctl sessions index repair --fix-ttl"
        )


def _lines(report: CleanupReport) -> Iterator[str]:
    verb = "would remove" if report.dry_run else "removed"
    yield (
        f"{verb} {report.removed_from_index:,} expired sessions from the index, "
        f"{report.removed_from_database:,} from the database, {report.removed_from_memory:,} from memory"
    )
    others = (
        (report.tombstones, f"{verb} {{:,}} tombstones of sessions that were deleted long ago"),
        (report.flush_log, f"{verb} {{:,}} entries of the flush log: writes that the database got long ago"),
        (report.still_alive, "{:,} were due and are still in use: kept"),
        (report.from_set, "entered {:,} sessions that only an older program's SET listed"),
        (report.entered_into_index, "entered {:,} sessions that the index did not have"),
    )
    yield from (line.format(number) for number, line in others if number)
    if not report.finished:
        go_on = "the rest was not looked at" if report.dry_run else "the next run goes on where it stopped"
        yield f"not finished: {go_on}"


# Orphans


def show_orphans(report: OrphanReport, *, quiet: bool) -> None:
    if not quiet:
        for line in orphan_lines(report):
            write_line(line)
        if not report.number and report.finished:
            rest = "in what was looked at" if report.resumed else "there"
            write_line(f"nothing is {rest} that no session stands behind")
        if not report.finished:
            done = "the next run goes on where it stopped" if report.goes_on else "the rest was not looked at"
            write_line(f"not finished: {done}")
    warn_if_partial(report.missing)
    if report.believed.number:
        warn(
            f"{counted(report.believed.number, 'session', 'sessions')} in Redis may be served without having a row "
            f"({named(report.believed)}): was the database restored from a backup? They are left alone"
        )


def orphan_lines(report: OrphanReport) -> Iterator[str]:
    verb = "removed" if report.removed else "would remove"
    if report.copies.number:
        yield (
            f"{verb} {counted(report.copies.number, 'copy', 'copies')} that no row stands behind and no read believes, "
            f"{size(report.bytes)} ({named(report.copies)})"
        )
    if report.names.number:
        names = counted(report.names.number, "name", "names")
        yield f"{verb} {names} among the pending for which nothing waits ({named(report.names)})"

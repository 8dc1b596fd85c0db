"""The report of ``cleanup --orphans``."""

from __future__ import annotations

from collections.abc import Iterator

from checkout_cli.commands.cleanup.orphans import OrphanReport
from checkout_cli.commands.sessions.index_view import counted, named
from checkout_cli.sizes import size
from checkout_cli.terminal.output import warn, warn_if_partial, write_line


def show_orphans(report: OrphanReport, *, quiet: bool) -> None:
    if not quiet:
        for line in orphan_lines(report):
            write_line(line)
        if not report.number and report.finished:
            write_line("nothing is there that no session stands behind")
        if not report.finished:
            write_line("stopped before the end: the next run goes on")
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

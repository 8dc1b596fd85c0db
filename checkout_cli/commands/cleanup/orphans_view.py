"""How copies and names that no session stands behind look."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from checkout_cli.commands.cleanup.orphans import OrphanReport
from checkout_cli.commands.sessions.index_view import HINT, counted, named
from checkout_cli.sizes import size
from checkout_cli.terminal.output import narrate, warn, warn_if_partial, write_line
from checkout_cli.terminal.prompt import confirm


def orphan_agreement(*, yes: bool, dry_run: bool) -> Callable[[OrphanReport], bool]:
    """Shows what there is, and asks a person unless that is settled."""

    def agreed(report: OrphanReport) -> bool:
        if dry_run:
            return False
        for line in _orphan_lines(report):
            narrate(line)
        return yes or confirm("Remove what no session stands behind?", hint=HINT)

    return agreed


def show_orphans(report: OrphanReport, *, quiet: bool) -> None:
    """What was found, or removed, on stdout; what a person should look at on stderr."""
    if not quiet:
        for line in _orphan_lines(report):
            write_line(line)
        if not report.number:
            write_line("nothing is there that no session stands behind")
    warn_if_partial(report.missing)
    if report.believed.number:
        warn(
            f"{counted(report.believed.number, 'session', 'sessions')} in Redis may be served without having a row "
            f"({named(report.believed)}): was the database restored from a backup? They are left alone"
        )


def _orphan_lines(report: OrphanReport) -> Iterator[str]:
    verb = "removed" if report.removed else "would remove"
    if report.copies.number:
        yield (
            f"{verb} {counted(report.copies.number, 'copy', 'copies')} that no row stands behind and no read believes, "
            f"{size(report.bytes)} ({named(report.copies)})"
        )
    if report.names.number:
        names = counted(report.names.number, "name", "names")
        yield f"{verb} {names} among the pending for which nothing waits ({named(report.names)})"

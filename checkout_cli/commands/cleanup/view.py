"""How the report of a clean-up looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkout_cli.commands.cleanup.orphans_view import show_orphans
from checkout_cli.commands.sessions.index_view import show_index
from checkout_cli.terminal.output import warn, warn_if_partial, write_json, write_line

if TYPE_CHECKING:
    from checkout_cli.commands.cleanup.cleanup import Tidied
    from checkout_cli.commands.cleanup.expired import CleanupReport


def show_tidying(tidied: Tidied, *, as_json: bool, quiet: bool) -> None:
    """Nothing at all on success with ``quiet``."""
    if tidied.expired is not None:
        _warn(tidied.expired)
    if as_json:
        write_json(tidied)
        return
    if tidied.expired is not None and not quiet:
        for line in _lines(tidied.expired):
            write_line(line)
    if tidied.index is not None and not (quiet and not tidied.index.exit_code):
        show_index(tidied.index, as_json=False)
    if tidied.orphans is not None:
        show_orphans(tidied.orphans, quiet=quiet)


def _warn(report: CleanupReport) -> None:
    for reason in report.unreachable:
        warn(f"not cleaned up: {reason}")
    if report.left:
        warn(f"{report.left:,} that were due may still live on a server that does not answer: left for the next run")
    warn_if_partial(report.missing)
    if report.without_expiry:
        warn(
            f"{report.without_expiry} sessions have no time to live and will never end by themselves: "
            "checkoutctl sessions index repair --fix-ttl"
        )


def _lines(report: CleanupReport) -> list[str]:
    verb = "would remove" if report.dry_run else "removed"
    removed = (
        f"{report.removed_from_index:,} expired sessions from the index, "
        f"{report.removed_from_database:,} from the database, {report.removed_from_memory:,} from memory"
    )
    lines = [f"{verb} {removed}"]
    if report.tombstones:
        lines.append(f"{verb} {report.tombstones:,} tombstones of sessions that were deleted long ago")
    if report.flush_log:
        lines.append(f"{verb} {report.flush_log:,} entries of the flush log: writes that the database got long ago")
    if report.still_alive:
        lines.append(f"{report.still_alive:,} were due and are still in use: kept")
    if report.from_set:
        lines.append(f"entered {report.from_set:,} sessions that only an older program's SET listed")
    if report.entered_into_index:
        lines.append(f"entered {report.entered_into_index:,} sessions that the index did not have")
    if not report.finished:
        lines.append("stopped before the end: the next run goes on")
    return lines

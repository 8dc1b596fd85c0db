"""The actions of the management endpoint (spec, "Management Endpoints"): clean up, count, list page by page."""

from __future__ import annotations

from checkout_cli.commands.cleanup.expired import CleanupReport, clean_up
from checkout_cli.commands.health.health import SessionStatistics
from checkout_cli.commands.sessions.export import Exported, export
from checkout_cli.errors import CheckoutError
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.jobs.heartbeat import last_beat
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.store.checkout_store import CheckoutStore

LONGEST_CLEANUP = 20.0
"""Seconds after which a clean-up ends, since a client waits, and leaves the rest to the next one."""
MOST_SESSIONS = 500
"""Sessions in one answer."""


def cleanup_expired(store: CheckoutStore) -> CleanupReport:
    """Remove expired sessions for a limited time; raises as :func:`clean_up` does."""
    return clean_up(store, BoundedRun(store.clock, max_seconds=LONGEST_CLEANUP))


def statistics(store: CheckoutStore) -> SessionStatistics:
    """Totals and counts; raises :class:`TierUnavailable` without the database, which has the totals."""
    try:
        beat = last_beat(store, CLEANUP)
    except CheckoutError:  # it is in Redis alone, and the totals are not
        beat = None
    return SessionStatistics(store.database.totals(), store.admin.count(), beat)


def sessions_page(store: CheckoutStore, *, limit: int, cursor: str | None) -> tuple[list[Exported], str | None]:
    """At most ``limit`` live sessions, fewer where some have ended, and the cursor of the next page.

    Raises:
        InvalidInput: not a cursor of ours.
        TierUnavailable: no tier answers.
    """
    pages = export(store, cursor=cursor, page_size=limit, tell=lambda _: None)
    return next(((page.sessions, page.cursor) for page in pages if page.sessions), ([], None))

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
LONGEST_PAGE = 2.0
"""Seconds that a page of sessions may take, since other clients wait behind it."""
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

    Where nothing but dead entries is found for ``LONGEST_PAGE`` seconds, there are none, and a cursor all the same.

    Raises:
        InvalidInput: not a cursor of ours.
        TierUnavailable: no tier answers.
    """
    run = BoundedRun(store.clock, max_seconds=LONGEST_PAGE)
    with run.bounds():
        for page in run.pages(export(store, cursor=cursor, page_size=limit, tell=lambda _: None), lambda _: limit):
            cursor = page.cursor
            if page.sessions:
                return page.sessions, cursor
    return [], None if run.finished else cursor

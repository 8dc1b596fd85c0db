"""``cleanup``: the requested clean-ups, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from checkout_cli.commands.cleanup.expired import BATCH, CleanupReport, clean_up
from checkout_cli.commands.cleanup.orphans import OrphanReport, find_orphans, remove_orphans
from checkout_cli.commands.sessions.index import IndexReport, preview_repair, repair_index
from checkout_cli.jobs.bounded_run import BoundedRun, Ended
from checkout_cli.store.checkout_store import CheckoutStore


@dataclass
class Cleanup(Ended):
    """The reports; ``None`` for what was not requested or not begun."""

    JSON_KEYS = "dryRun *expired [indexRepair=index] [orphans] finished"

    dry_run: bool
    expired: CleanupReport | None = None
    index: IndexReport | None = None
    orphans: OrphanReport | None = None

    @property
    def finished(self) -> bool:
        reports = (self.expired, self.index, self.orphans)
        return super().finished and all(report is None or report.finished for report in reports)

    @property
    def has_finding(self) -> bool:
        """A dry run finds no fault in what it would remove."""
        expired = self.expired
        if expired is not None and (expired.unreachable or expired.missing or expired.left):
            return True
        reports = () if self.dry_run else (self.index, self.orphans)
        return any(report is not None and report.has_finding for report in reports)

    @property
    def next_step(self) -> str:
        if self.index is not None and self.index.has_finding:
            return self.index.next_step
        wanted = self.orphans is not None and self.orphans.number and not self.orphans.removed
        return "checkoutctl cleanup --orphans" if wanted else "checkoutctl doctor"


def run_cleanup(
    store: CheckoutStore,
    run: BoundedRun,
    kinds: Collection[str],
    *,
    agreed: Callable[[OrphanReport], bool],
    dry_run: bool = False,
    batch: int = BATCH,
) -> Cleanup:
    """Each of the ``kinds`` ("orphans", "expired", "index") for its share of the time.

    What needs consent comes first, so that declining leaves nothing changed.
    """
    done = Cleanup(dry_run)

    def orphans(part: BoundedRun) -> None:
        done.orphans = find_orphans(store, part) if dry_run else remove_orphans(store, part, agreed=agreed)

    def expired(part: BoundedRun) -> None:
        done.expired = clean_up(store, part, dry_run=dry_run, batch=batch)

    def index(part: BoundedRun) -> None:
        done.index = preview_repair(store, part) if dry_run else repair_index(store, part)

    phases = {"orphans": orphans, "expired": expired, "index": index}
    run.in_turn(*(phase for kind, phase in phases.items() if kind in kinds), again=False)
    done.end(run)
    return done

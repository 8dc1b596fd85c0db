"""``cleanup``: the clean-ups that were asked for, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from checkout_cli.commands.cleanup.expired import BATCH, CleanupReport, Progress, clean_up, silent
from checkout_cli.commands.cleanup.orphans import OrphanReport, remove_orphans
from checkout_cli.commands.sessions.index import IndexReport, check_index, repair_index
from checkout_cli.errors import ExitCode, InvalidInput
from checkout_cli.store.checkout_store import CheckoutStore


@dataclass(frozen=True)
class Tidying:
    """What to clean up; ``max_seconds`` is for each of them.

    Raises:
        InvalidInput: nothing.
    """

    expired: bool = False
    index: bool = False
    orphans: bool = False
    dry_run: bool = False
    max_seconds: float | None = None
    batch: int = BATCH

    def __post_init__(self) -> None:
        if not (self.expired or self.index or self.orphans):
            raise InvalidInput("say what to clean up", hint="checkoutctl cleanup --expired")


@dataclass(frozen=True)
class Tidied:
    """What came of each; ``None`` for what was not asked for."""

    expired: CleanupReport | None
    index: IndexReport | None
    orphans: OrphanReport | None
    dry_run: bool

    @property
    def exit_code(self) -> ExitCode:
        """A finding where a tier could not be reached, or something is left; a look alone finds no fault."""
        unreachable = self.expired is not None and (
            self.expired.unreachable or self.expired.missing or self.expired.left
        )
        left = [report.exit_code for report in (self.index, self.orphans) if report is not None and not self.dry_run]
        return ExitCode.FINDING if unreachable or any(left) else ExitCode.OK


def tidy(
    store: CheckoutStore,
    wanted: Tidying,
    *,
    agreed: Callable[[OrphanReport], bool],
    progress: Progress = silent,
) -> Tidied:
    """Do what is wanted; raises as :func:`clean_up`, :func:`repair_index` and :func:`remove_orphans` do.

    What has to be agreed to comes first: who says no, or cannot be asked, finds nothing changed.
    """
    expired = index = orphans = None
    if wanted.orphans:
        orphans = remove_orphans(store, agreed=agreed, progress=progress)
    if wanted.expired:
        expired = clean_up(
            store, dry_run=wanted.dry_run, max_seconds=wanted.max_seconds, batch=wanted.batch, progress=progress
        )
    if wanted.index and wanted.dry_run:
        index = check_index(store, progress=progress)
    elif wanted.index:
        index = repair_index(store, max_seconds=wanted.max_seconds, progress=progress)
    return Tidied(expired, index, orphans, wanted.dry_run)

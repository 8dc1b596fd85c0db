"""Deletions, restores and extensions: the preview and the outcome."""

from __future__ import annotations

from collections.abc import Iterator

from checkout_cli.commands.sessions.delete import SHOWN, Deletion, Outcome, Plan, Restoration
from checkout_cli.commands.sessions.sessions import Extension
from checkout_cli.commands.sessions.view import describe, warn_of_more
from checkout_cli.jobs.bounded_run import Stopped
from checkout_cli.session import iso
from checkout_cli.terminal.document import document
from checkout_cli.terminal.masking import acknowledged
from checkout_cli.terminal.output import narrate, warn, write_json, write_line
from checkout_cli.terminal.safe import safe
from checkout_cli.typed import typed
from checkout_cli.units import span

MOST_NAMED = 20
"""Ids in one line of narration."""
_STOPPED = {Stopped.INTERRUPTED: "interrupted", Stopped.TIME: "stopped"}
_NOT_RESTORED = {
    Outcome.ALIVE: "alive, so that there is nothing to restore",
    Outcome.EXPIRED: "would have expired meanwhile",
    Outcome.CHANGED: "left alone: something has happened to them since, or their tombstones are gone",
    Outcome.NO_SESSION: "were no sessions of ours, so that they cannot come back",
}


def question(plan: Plan) -> str:
    return "Delete it for good?" if plan.number == 1 else f"Delete these {plan.number:,} sessions for good?"


def preview(plan: Plan, *, dry_run: bool) -> Iterator[str]:
    yield from (describe(sighting, plan.now) for sighting in plan.shown)
    if plan.number > SHOWN:
        yield f"… and {plan.number - SHOWN:,} more"
    if plan.number > 1:
        statuses = ", ".join(f"{number:,} {status}" for status, number in sorted(plan.by_status.items()))
        tiers = ", ".join(f"{number:,} as {tier} has them" for tier, number in sorted(plan.by_tier.items()))
        yield f"{plan.number:,} sessions, baskets of {plan.value:,.2f} in all: {statuses}; {tiers}"
    if plan.partial:
        yield f"there may be more: only {plan.looked_at:,} entries of the index were looked at"
    if not dry_run:
        yield f"undo file: {plan.undo_file}"


def show_deletion(deletion: Deletion, *, seconds: float = 0.0, dry_run: bool, as_json: bool) -> None:
    """``seconds`` is how long the sessions were looked for."""
    plan = deletion.plan
    if as_json:
        ids = {"checkoutIds": deletion.affected, "changed": deletion.changed}
        write_json(
            {"dryRun": dry_run, **document(deletion), **{name: list(map(acknowledged, ids[name])) for name in ids}}
        )
    else:
        for checkout_id in plan.checkout_ids if dry_run else deletion.deleted:
            write_line(f"{'would delete' if dry_run else 'deleted'} {safe(acknowledged(checkout_id))}")
    if not plan.number:
        narrate("no session matches")
    elif deletion.done:
        restore = typed("checkoutctl sessions restore {}", plan.undo_file)
        narrate(f"to take it back: {restore}" if restore else f"undo file: {plan.undo_file}")
        if not deletion.finished:
            warn(f"not finished ({_STOPPED[deletion.stopped]}): the others are as they were")
    if deletion.changed:
        warn(f"left alone, because they have changed or ended since: {_named(deletion.changed)}")
    if deletion.irreversible:
        warn(f"{deletion.irreversible:,} of them were no sessions of ours: they cannot be restored")
    if deletion.degraded:
        warn("the database has deleted it; a copy in Redis, if there is one, goes as soon as Redis is back")
    if plan.partial:
        warn_of_more(plan.looked_at, seconds)


def show_restoration(restoration: Restoration, *, as_json: bool) -> None:
    outcomes = restoration.outcomes
    if as_json:
        shown = {outcome.name.lower(): list(map(acknowledged, ids)) for outcome, ids in outcomes.items()}
        write_json({**document(restoration), **shown})
    else:
        for checkout_id in outcomes[Outcome.RESTORED]:
            write_line(f"{'would restore' if restoration.dry_run else 'restored'} {safe(acknowledged(checkout_id))}")
    if restoration.resumed_after:
        narrate(f"went on after the first {restoration.resumed_after:,} of the file, which an earlier run dealt with")
    for outcome, reason in _NOT_RESTORED.items():
        if outcomes[outcome]:
            tell = warn if outcome in {Outcome.CHANGED, Outcome.NO_SESSION} else narrate
            tell(f"{len(outcomes[outcome]):,} {reason}: {_named(outcomes[outcome])}")
    if not restoration.finished:
        warn(f"not finished ({_STOPPED[restoration.stopped]}): the same command goes on where it stopped")
    if restoration.degraded and outcomes[Outcome.RESTORED]:
        warn("the database has them and Redis does not yet; they are published as soon as Redis is back")


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - MOST_NAMED:,} more" if len(ids) > MOST_NAMED else ""
    return ", ".join(map(acknowledged, ids[:MOST_NAMED])) + more


def show_extension(extension: Extension, now: int, *, as_json: bool) -> None:
    """``now`` is in milliseconds."""
    if as_json:
        write_json({**document(extension), "checkoutId": acknowledged(extension.checkout_id)})
    else:
        left = span(extension.after - now)
        write_line(f"{safe(acknowledged(extension.checkout_id))} ends in {left} ({iso(extension.after)})")
    if extension.capped:
        narrate("that is its maximum age: no session lives longer")
    if extension.external:
        warn("an external writer wrote it last: expiresAt in its JSON stays, and that program may go by it")
    for reason in extension.away:
        warn(f"not extended there: {reason}")

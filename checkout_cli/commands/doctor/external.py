"""Do other programs write sessions here, and do their writes fit in?"""

from __future__ import annotations

from checkout_cli.checks import Finding, ok, warn_if
from checkout_cli.commands.doctor.check import Group, Need, check
from checkout_cli.commands.doctor.context import DoctorContext, ago
from checkout_cli.config.settings import without_password
from checkout_cli.files.last_look import Reading

_CONFLICTS = "conflicts"


@check("external-writers", Group.SESSIONS, Need.DATABASE)
def external_writers(context: DoctorContext) -> Finding:
    """What external writers write can be taken in.

    Other programs may write sessions on the same Redis. What they write becomes the next version, is merged, or goes to
    the conflict log: where the session had changed meanwhile, where its payment status may not follow, and, but for a
    final payment, wherever they leave out the field _store that they have read. While one was seen within a day, a
    shop's read keeps expiresAt true for it. A session whose key is missing comes back from the database, because an
    eviction looks like a deletion; with CHECKOUT_EXTERNAL_DELETES=honour a proven deletion stands.
    """
    writes = context.store.external.writes()
    if not writes.seen_at:
        return ok("none was seen", takenIn=0, conflicts=0, refilled=0, deleted=0, lastSeenSeconds=None)
    seconds = (context.now() - writes.seen_at) / 1000
    told = [f"{writes.taken_in:,} writes taken in", f"{writes.conflicts:,} of them conflicts"]
    if writes.refilled:
        told.append(f"{writes.refilled:,} sessions with a missing key came back from the database")
    if writes.deleted:
        told.append(f"{writes.deleted:,} of their deletions stand")
    evidence = f"last seen {ago(seconds)} ago; {', '.join(told)}"
    place = f"external writers, {without_password(context.settings.database_url)}"
    context.readings[place] = Reading(context.now(), "", {_CONFLICTS: float(writes.conflicts)})
    new, since = context.compared(place, context.readings[place], _CONFLICTS, first="(first look)")
    if new:
        evidence = f"{new:,.0f} new {'conflict' if new == 1 else 'conflicts'} {since}; {evidence}"
    return warn_if(
        new,
        evidence,
        "checkoutctl sync --conflicts",
        takenIn=writes.taken_in,
        conflicts=writes.conflicts,
        refilled=writes.refilled,
        deleted=writes.deleted,
        lastSeenSeconds=round(seconds),
    )

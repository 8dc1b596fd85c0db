"""Do other programs write sessions here, and do their writes fit in?"""

from __future__ import annotations

from checkout_cli.checks import Finding, ok, warn
from checkout_cli.commands.doctor.check import Group, Need, check
from checkout_cli.commands.doctor.patient import COMMAND, Patient, ago
from checkout_cli.config.variables import without_password
from checkout_cli.files.last_look import Reading
from checkout_cli.store.database.external_writers import ExternalWrites

_CONFLICTS = "conflicts"


@check("external-writers", Group.SESSIONS, Need.DATABASE)
def external_writers(patient: Patient) -> Finding:
    """What external writers write can be taken in.

    Other programs may write sessions on the same Redis. What they write becomes the next version, is merged, or goes to
    the conflict log: where the session had changed meanwhile, where its payment status may not follow, and, but for a
    final payment, wherever they leave out the field _store that they have read. While one was seen within a day, a
    shop's read keeps expiresAt true for it. A session whose key is missing comes back from the database, because an
    eviction looks like a deletion; with CHECKOUT_EXTERNAL_DELETES=honour a proven deletion stands.
    """
    writes = patient.store.external.writes()
    if not writes.seen_at:
        return ok("none was seen", takenIn=0, conflicts=0, refilled=0, deleted=0, lastSeenSeconds=None)
    seconds = (patient.now() - writes.seen_at) / 1000
    numbers = {
        "takenIn": writes.taken_in,
        "conflicts": writes.conflicts,
        "refilled": writes.refilled,
        "deleted": writes.deleted,
        "lastSeenSeconds": round(seconds),
    }
    new, since = _new_conflicts(patient, writes)
    evidence = f"last seen {ago(seconds)} ago; {', '.join(_told(writes))}"
    if new:
        return warn(f"{new:,} new conflicts {since}; {evidence}", "checkoutctl sync --conflicts", **numbers)
    return ok(evidence, **numbers)


def _told(writes: ExternalWrites) -> list[str]:
    told = [f"{writes.taken_in:,} writes taken in", f"{writes.conflicts:,} of them conflicts"]
    if writes.refilled:
        told.append(f"{writes.refilled:,} sessions with a missing key came back from the database")
    if writes.deleted:
        told.append(f"{writes.deleted:,} of their deletions stand")
    return told


def _new_conflicts(patient: Patient, writes: ExternalWrites) -> tuple[int, str]:
    """How many conflicts there were since the last examination, and since when that is, in words."""
    place = f"external writers, {without_password(patient.settings.database_url)}"
    earlier = patient.last_look.previous(COMMAND, place)
    reading = Reading(patient.now(), "", {_CONFLICTS: float(writes.conflicts)})
    patient.readings[place] = reading
    if earlier is None:
        return writes.conflicts, "(first look)"
    return int(reading.since(earlier, _CONFLICTS) or 0), f"since the last run {ago(reading.seconds_since(earlier))} ago"

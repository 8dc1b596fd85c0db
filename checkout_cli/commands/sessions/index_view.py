"""The reports of ``sessions index check``, ``repair`` and ``adopt``."""

from __future__ import annotations

from collections.abc import Iterator

from checkout_cli.commands.sessions.index import Found, IndexReport
from checkout_cli.commands.sessions.index_adoption import AdoptionReport
from checkout_cli.keys import INDEX
from checkout_cli.store.redis.index_place import Place
from checkout_cli.terminal.output import narrate, warn, write_json, write_line
from checkout_cli.terminal.safe import safe
from checkout_cli.terminal.short_ids import shortened
from checkout_cli.typed import typed


def repair_preview(report: IndexReport, *, fix_ttl: bool) -> Iterator[str]:
    yield from _lines(report)
    if report.endless.number and not fix_ttl:
        yield "sessions that never end are left as they are without --fix-ttl"


def show_index(report: IndexReport, *, as_json: bool) -> None:
    """Data on stdout, what could not be checked on stderr."""
    for reason in report.away:
        warn(f"not all could be looked at: {reason}")
    if as_json:
        write_json(report)
        return
    write_line(f"looked at {report.keys:,} sessions in Redis and {report.entries:,} entries of the index")
    for line in _lines(report):
        write_line(line)
    if report.is_sound:
        partial = report.resumed or not report.finished
        write_line("what was looked at is sound" if partial else "the index is sound")
    if not report.finished:
        go_on = typed("checkoutctl sessions index check --cursor {}", report.cursor)
        narrate(f"not finished: {'the next run goes on where it stopped' if report.goes_on else f'next: {go_on}'}")


_FAULTS = {
    "missing": ("is", "are", "not in the index", "entered", ""),
    "late": ("ends", "end", "earlier than the index says", "mended", ""),
    "unlisted": ("is", "are", "in the older program's SET alone", "entered", "left to the next clean-up"),
    "unfilled": ("is", "are", "missing in the older program's SET", "added", ""),
}
"""Of each: the verb for one and for several, what is wrong, what a repair did, and what happens without one."""


def _lines(report: IndexReport) -> Iterator[str]:
    done = report.repaired
    early = report.dangling.number - report.due
    if report.place is not Place.OWN:
        yield _place_in_words(report.place, report.kind, report.members)
    if report.unfinished:
        left = counted(report.unfinished, "entry", "entries")
        yield f"{left} waiting for the end of an interrupted adoption{': brought over' if done else ''}"
    yield from _faults(report, "missing")
    if early:
        removed = ": taken out" if done else ""
        entries = counted(early, "entry has", "entries have")
        yield f"{entries} no session, and should have one for longer{removed} ({named(report.dangling)})"
    if report.due:
        removed = "taken out" if done else "left to the next clean-up"
        yield f"{counted(report.due, 'entry', 'entries')} of sessions that have ended: {removed}"
    yield from _faults(report, "late", "unlisted", "unfilled")
    if report.endless.number:
        endless = counted(report.endless.number, "session never ends", "sessions never end")
        given = f": {report.endowed:,} given an end" if report.endowed else ""
        yield f"{endless}{given} ({named(report.endless)})"
    if report.wrong_type.number:
        keys = counted(report.wrong_type.number, "key of a session holds", "keys of sessions hold")
        yield f"{keys} no string: another program's ({named(report.wrong_type)})"
    lost = report.database_only
    if lost.is_loss:
        number = f"{lost.number:,}{'' if lost.exact else ' or more'}"
        yield f"{number} {'session is' if lost.number == 1 else 'sessions are'} in the database only"
    if report.unknown:
        yield f"{counted(report.unknown, 'entry', 'entries')} could not be judged"


def _faults(report: IndexReport, *names: str) -> Iterator[str]:
    for name in names:
        one, many, what, repaired, left = _FAULTS[name]
        found: Found = getattr(report, name)
        if found.number:
            became = repaired if report.repaired else left
            sessions = counted(found.number, f"session {one}", f"sessions {many}")
            yield f"{sessions} {what}{': ' if became else ''}{became} ({named(found)})"


def _place_in_words(place: Place, kind: str, members: int) -> str:
    if place is Place.BESIDE_OTHER:
        return f"{INDEX} holds a {kind} that is not ours: left alone, ours lies beside it"
    return (
        f"{INDEX} holds an older program's SET with {counted(members, 'id', 'ids')}: kept for it, ours lies beside it"
    )


def counted(number: int, one: str, many: str) -> str:
    """A number and its noun."""
    return f"{number:,} {one if number == 1 else many}"


def named(found: Found) -> str:
    more = ", …" if found.number > len(found.examples) else ""
    return ", ".join(safe(name) for name in shortened(found.examples)) + more


# Adoption


def adoption_preview(report: AdoptionReport) -> Iterator[str]:
    if report.layout.place is Place.BESIDE_SET:
        yield _place_in_words(report.layout.place, report.layout.kind, report.members)
        yield "adopting removes that SET; an older program cannot enter its sessions into the index any more"


def show_adoption(report: AdoptionReport, *, as_json: bool) -> None:
    if as_json:
        write_json(report)
        return
    for line in _adoption_lines(report):
        write_line(line)
    if report.done and not report.finished:
        narrate("not finished")


def _adoption_lines(report: AdoptionReport) -> Iterator[str]:
    if report.done:
        yield (
            f"entered {counted(report.taken.entered, 'session', 'sessions')} that only the SET listed, "
            f"removed {counted(report.taken.removed, 'id', 'ids')} without a session"
        )
        if report.finished:
            yield f"our index lies at {INDEX}"
    elif report.layout.place is Place.BESIDE_OTHER:
        yield _place_in_words(report.layout.place, report.layout.kind, report.members)
    elif not report.is_needed:
        yield f"nothing to adopt: there is no older program's SET at {INDEX}"
    elif report.layout.place is Place.BESIDE_SET:
        yield f"would put our index with {counted(report.entries, 'entry', 'entries')} at {INDEX}"
    else:
        yield "would finish an interrupted adoption"

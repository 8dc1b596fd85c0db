"""Cached entries, lists of them, replacements and invalidations.

A delivery charge depends on distance and order value alone, so it is shown. A coupon's answer may name the shopper: it
is masked unless revealed, in every format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from checkout_cli.commands.cache.entries import CacheStatistics, EntryList, Found, Invalidation, Replacement
from checkout_cli.domain.entries import Answer, CacheEntry
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.session import iso
from checkout_cli.terminal.document import document
from checkout_cli.terminal.listing import Listing, going_on
from checkout_cli.terminal.masking import MASKED, answer_shown, fields_shown, id_shown
from checkout_cli.terminal.output import columns_of, narrate, warn, warn_if_partial, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe
from checkout_cli.units import span

_SHOWN_DIGEST = 12
_ANSWERS = columns_of("context", "answer", "served", "#age", "#expires in", "note")
_STATISTICS = columns_of("cache", "#reads", "#hits", "#misses", "#stale", "#errors", "#hit rate", "#error rate")
_NOUNS = {"delivery": "all delivery charges", "coupon": "all answers about coupons"}
_VARIABLES = {"delivery": "REDIS_ENABLE_DELIVERY_CACHE", "coupon": "REDIS_ENABLE_COUPON_CACHE"}


# As JSON


def entry_document(entry: CacheEntry, now: int, *, enabled: bool = True, reveal: bool = False) -> dict[str, Any]:
    """One key as JSON; ``now`` is in milliseconds."""
    answers = [_answer_document(entry, answer, now, enabled, reveal) for answer in entry.answers]
    is_hidden = not reveal and is_personal(entry.key)
    names = list(map(id_shown, entry.names)) if is_hidden else list(entry.names)
    document: dict[str, Any] = {"key": id_shown(entry.key, reveal=reveal)}
    if entry.cache == "coupon":
        served = any(answer["served"] for answer in answers)
        document |= {"code": names[0], "served": served, "answers": answers}
    else:
        document |= zip_longest(("distance", "orderValue"), names[:2])  # another program's key may have one part
        document |= answers[0] if answers else {"value": None, "served": False, **_times(None, None, now)}
    problem = _problem(entry)
    return document | {"problem": problem, "expiresInSeconds": _seconds(entry.ttl), "size": entry.size}


def _problem(entry: CacheEntry) -> str | None:
    """Why none of a key's answers is served; ``None`` where one is."""
    if entry.problem is not None:
        return str(entry.problem)
    problems = [answer.problem for answer in entry.answers]
    return None if None in problems or not problems else str(problems[0])


def _answer_document(entry: CacheEntry, answer: Answer, now: int, enabled: bool, reveal: bool) -> dict[str, Any]:
    document: dict[str, Any] = {} if answer.context is None else {"context": answer.context}
    return document | {
        "value": _shown(entry.cache, answer.value, reveal),
        "served": enabled and answer.problem is None,
        "problem": None if answer.problem is None else str(answer.problem),
        **_times(answer.written_at, answer.expires_at, now),
    }


def _times(written_at: int | None, expires_at: int | None, now: int) -> dict[str, Any]:
    return {
        "writtenAt": None if written_at is None else iso(written_at),
        "ageSeconds": None if written_at is None else _seconds(now - written_at),
        "expiresAt": None if expires_at is None else iso(expires_at),
        "expiresInSeconds": None if expires_at is None else _seconds(expires_at - now),
    }


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else max(0, milliseconds // 1000)


def _shown(cache: str, value: Any, reveal: bool) -> Any:
    if cache == "delivery":
        return fields_shown({"value": value}, reveal=True)["value"]  # bounded in its depth, and nothing masked
    return answer_shown(value, reveal=reveal) if isinstance(value, dict) else MASKED


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# One key


def show_entry(found: Found, *, as_json: bool, reveal: bool = False) -> None:
    document = entry_document(found.entry, found.now, enabled=found.enabled, reveal=reveal)
    if as_json:
        shown = {"revealed": reveal} if found.entry.cache == "coupon" else {}
        write_json({**document, "enabled": found.enabled, **shown})
    else:
        write_table(columns_of("field", "value"), list(_facts(found, document)))
        if found.entry.cache == "coupon" and found.entry.answers:
            write_line()
            write_table(_ANSWERS, [_answer_row(found, answer, reveal) for answer in found.entry.answers])
    _warn_if_off(found.entry.cache, found.enabled)


def _facts(found: Found, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    entry = found.entry
    yield "KEY", document["key"]
    if entry.cache == "delivery" and entry.answers:
        yield "CHARGE", _text(document["value"])
    yield "SERVED", "yes" if found.served else f"no: {_why_not(document['problem'], found.enabled)}"
    if entry.cache == "delivery":
        yield "AGE", _span(document["ageSeconds"], unknown="unknown")
    yield "EXPIRES IN", _span(document["expiresInSeconds"], unknown="never")
    yield "SIZE", f"{entry.size:,} bytes"


def _answer_row(found: Found, answer: Answer, reveal: bool) -> list[str]:
    row = _answer_document(found.entry, answer, found.now, found.enabled, reveal)
    return [row["context"][:_SHOWN_DIGEST], _text(row["value"]), *_ending(row, found.enabled)]


def _span(seconds: int | None, *, unknown: str = "") -> str:
    return unknown if seconds is None else span(seconds * 1000)


def _why_not(problem: str | None, enabled: bool) -> str:
    return problem or ("there is no answer in it" if enabled else "the cache is switched off")


def _warn_if_off(cache: str, enabled: bool) -> None:
    if not enabled:
        warn(f"{_VARIABLES[cache]} is false here: programs with this setting do not use the cache")


# A list


def show_listing(found: EntryList, output: str, *, reveal: bool = False) -> None:
    """Entries in one of the list formats; the cursor goes to stderr and into the JSON."""

    def entry_of(entry: CacheEntry) -> dict[str, Any]:
        return entry_document(entry, found.now, enabled=found.enabled, reveal=reveal)

    def row_of(cells: dict[str, Any]) -> list[str]:
        own = ("" if cells[name] is None else str(cells[name]) for name in names)
        return [*own, *_ending(cells, found.enabled)]

    cursor = found.cursor
    columns, names, csv, cells = _COUPON_LIST if found.cache == "coupon" else _DELIVERY_LIST
    Listing(
        "entries",
        found.found.values(),
        columns,
        row=lambda entry: row_of(cells(entry_of(entry))),
        document=entry_of,
        id_of=lambda entry: " ".join(entry.names),
        is_left_out=lambda entry: not reveal and is_personal(entry.key),
        csv=csv,
        cells=lambda entry: cells(entry_of(entry)),
        nothing=f"nothing is cached{'' if cursor is None else ' as far as was looked'}",
        more=lambda: document(found),
        missing=lambda: found.missing,
    ).show(output, lambda _: going_on(cursor, f"{found.looked_at:,}"))
    _warn_if_off(found.cache, found.enabled)


def _ending(cells: dict[str, Any], enabled: bool) -> list[str]:
    """The columns in which all tables end."""
    served, answers = cells.get("servedAnswers"), cells.get("answers")
    yes = "yes" if served == answers else f"{served} of {answers}"
    return [
        yes if cells["served"] else "no",
        _span(cells["ageSeconds"]),
        _span(cells["expiresInSeconds"], unknown="never"),
        "" if cells["served"] else _why_not(cells["problem"], enabled),
    ]


def _delivery_cells(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"value": None if document["value"] is None else _text(document["value"])}


def _coupon_cells(document: dict[str, Any]) -> dict[str, Any]:
    answers = document["answers"]
    return document | {
        "answers": len(answers),
        "servedAnswers": sum(answer["served"] for answer in answers),
        "validAnswers": sum(isinstance(one["value"], dict) and one["value"].get("valid") is True for one in answers),
        "ageSeconds": answers[0]["ageSeconds"] if answers else None,
    }


_DELIVERY_LIST = (
    columns_of("#distance", "#order value", "charge", "served", "#age", "#expires in", "note"),
    ("distance", "orderValue", "value"),
    ("distance", "orderValue", "value", "served", "problem", "ageSeconds", "expiresInSeconds", "size"),
    _delivery_cells,
)
"""Columns, the cells of the first of them, the cells of a line of CSV, and how an entry becomes these."""
_COUPON_LIST = (
    columns_of("code", "#answers", "#valid", "served", "#age", "#expires in", "note"),
    ("code", "answers", "validAnswers"),
    ("code", "answers", "servedAnswers", "validAnswers", "served", "problem", "ageSeconds", "expiresInSeconds", "size"),
    _coupon_cells,
)


# What a write changes


def describe_replacement(replacement: Replacement, *, reveal: bool = False) -> list[str]:
    document = replacement_document(replacement, reveal=reveal)
    context = "" if replacement.context is None else f", context {replacement.context[:_SHOWN_DIGEST]}"
    before = "nothing" if replacement.before is None else _text(document["before"])
    if replacement.before is not None and document["beforeProblem"] is not None:
        before += f" (not served: {document['beforeProblem']})"
    return [
        f"{document['key']}{context}",
        f"  before: {before}",
        f"  after:  {_text(document['after'])}, for about {span(replacement.lifetime * 1000)}",
    ]


def replacement_document(replacement: Replacement, *, reveal: bool = False) -> dict[str, Any]:
    cache, before = replacement.cache, replacement.before
    return {
        "key": id_shown(replacement.key, reveal=reveal),
        **({} if replacement.context is None else {"context": replacement.context}),
        "before": None if before is None else _shown(cache, before.value, reveal),
        "beforeProblem": None if before is None or before.problem is None else str(before.problem),
        "after": _shown(cache, replacement.after, reveal),
        "lifetimeSeconds": replacement.lifetime,
        "written": replacement.done,
    }


def show_replacement(replacement: Replacement, *, as_json: bool, reveal: bool = False) -> None:
    if as_json:
        write_json({**replacement_document(replacement, reveal=reveal), "dryRun": not replacement.done})
    else:
        write_line(f"{'set' if replacement.done else 'would set'} {safe(id_shown(replacement.key, reveal=reveal))}")
    _warn_if_off(replacement.cache, replacement.enabled)


# What an invalidation affects


def describe_invalidation(invalidation: Invalidation) -> list[str]:
    lines = [f"{_what(invalidation)}: {_affected(invalidation)}"]
    if invalidation.examples:
        more = "" if invalidation.exact and invalidation.count == len(invalidation.examples) else ", …"
        lines.append(f"  such as {', '.join(map(id_shown, invalidation.examples))}{more}")
    return lines


def _what(invalidation: Invalidation) -> str:
    if not invalidation.scope:
        return _NOUNS[invalidation.cache]
    kind = "answers about coupon" if invalidation.cache == "coupon" else "delivery charges"
    return f"{kind} {id_shown(invalidation.scope)}"


def _affected(invalidation: Invalidation) -> str:
    if invalidation.count is None:
        return "Redis does not let us count what is cached"
    return f"{'' if invalidation.exact else 'at least '}{invalidation.count:,} cached, stale or not"


def show_invalidation(invalidation: Invalidation, *, as_json: bool) -> None:
    if as_json:
        write_json(invalidation)
    else:
        verb = "invalidated" if invalidation.done else "would invalidate"
        write_line(f"{verb} {safe(_what(invalidation))} ({_affected(invalidation)})")


# How well they work


def show_statistics(found: CacheStatistics, *, as_json: bool) -> None:
    if as_json:
        write_json(found)
    else:
        rows = []
        for name, counts in found.caches.items():
            numbers = (counts.reads, counts.hit, counts.miss, counts.stale, counts.error)
            rates = (counts.rate("hit"), counts.rate("error"))
            shares = ("" if rate is None else f"{rate:.1%}" for rate in rates)
            rows.append([name, *(f"{number:,}" for number in numbers), *shares])
        write_table(_STATISTICS, rows)
        if not any(counts.reads for counts in found.caches.values()):
            narrate(f"no cache was asked in the last {span(found.minutes * 60_000)}")
    warn_if_partial(found.missing)
    if not found.enabled:
        warn("REDIS_ENABLE_STATISTICS is false here: programs with this setting count nothing")

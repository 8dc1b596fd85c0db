"""``sessions trace`` and ``sessions why`` as text and JSON. Masked unless revealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkout_cli.commands.sessions.trace import MISSING, Difference, Trace
from checkout_cli.commands.sessions.view import as_text
from checkout_cli.commands.sessions.why import Answer, UserAnswer
from checkout_cli.session import Session, TierName, iso
from checkout_cli.spans import span
from checkout_cli.store.redis.inspection import KeyState
from checkout_cli.terminal.document import document
from checkout_cli.terminal.masking import value_shown
from checkout_cli.terminal.output import columns_of, narrate, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe

_FACTS = columns_of("", "Redis", "database")
_DIFFERENCES = columns_of("field", "Redis", "database")
_ABSENT = "(not there)"
_FLUSH = "result version=row.version conflict"
_TRACKED = "lastSeen lastStatus started=checkouts_started"


def show_trace(trace: Trace, *, as_json: bool, reveal: bool) -> None:
    if as_json:
        write_json(trace_document(trace, reveal=reveal))
        return
    write_line(f"session {safe(trace.checkout_id)}")
    write_table(_FACTS, [row for row in _facts(trace, reveal=reveal) if any(row[1:])])
    for away in (trace.redis_away, trace.database_away):
        if away:
            narrate(f"not known: {away}")
    if trace.key is not None and trace.key.is_copy and trace.row_fields is not None:
        if trace.differences:
            write_line()
            write_table(_DIFFERENCES, [_difference(difference, reveal=reveal) for difference in trace.differences])
        else:
            narrate("every field is the same in both")
    narrate("memory: every process of the shop has its own, which no other can see")


def trace_document(trace: Trace, *, reveal: bool) -> dict[str, Any]:
    """What could not be asked is ``null``, with the reason under ``away``."""
    return {
        "checkoutId": trace.checkout_id,
        "redis": _key_document(trace, reveal=reveal),
        "database": _row_document(trace, reveal=reveal),
        "conflicts": [document(told, "detectedAt@ source result") for told in trace.conflicts],
        "expected": None if trace.expected is None else document(trace.expected, _FLUSH),
        "differences": [
            dict(zip(("field", "redis", "database"), _difference(difference, reveal=reveal), strict=True))
            for difference in trace.differences
        ],
        "away": {
            name: reason for name, reason in (("redis", trace.redis_away), ("database", trace.database_away)) if reason
        },
    }


def _key_document(trace: Trace, *, reveal: bool) -> dict[str, Any] | None:
    key = trace.key
    if key is None:
        return None
    expires_at = trace.key_expires_at()
    return {
        "server": key.place,
        "state": str(key.state),
        "version": key.version,
        "status": _status(key.fields, reveal=reveal),
        "expiresAt": None if expires_at is None else iso(expires_at),
        "expiresInMs": key.ttl,
        "sizeBytes": key.size,
        "trusted": None if trace.trust is None else trace.trust.name == "TRUSTED",
        "trust": None if trace.trust is None else str(trace.trust),
        "dirty": key.dirty,
        "external": key.value is not None and key.value.is_external,
        "problem": None if key.problem is None else str(key.problem),
        "detail": key.detail or None,
        "indexed": key.score is not None,
        "indexScore": None if key.score in {None, float("inf")} else key.score,
        "namedAsPending": key.waits,
    }


def _row_document(trace: Trace, *, reveal: bool) -> dict[str, Any] | None:
    row = trace.row
    if row is None:
        return None
    return {
        "state": "tombstone" if row.body is None else "row",
        "version": row.version,
        "publishedVersion": row.published_version,
        "pending": row.is_pending,
        "status": _status(trace.row_fields, reveal=reveal),
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
        "expiresAt": iso(row.expires_at),
        "sizeBytes": 0 if row.body is None else len(row.body),
    }


def _facts(trace: Trace, *, reveal: bool) -> list[tuple[str, str, str]]:
    return [
        ("state", _key_state(trace), _row_state(trace)),
        *_common_facts(trace, reveal=reveal),
        ("created", "", _moment(trace, None if trace.row is None else trace.row.created_at)),
        ("written", "", _moment(trace, None if trace.row is None else trace.row.updated_at)),
        ("copy", "" if trace.trust is None else str(trace.trust), ""),
        ("waits", *_waits(trace)),
        ("index", _index(trace), ""),
        ("flush", _flush(trace), ""),
        ("conflicts", "", str(len(trace.conflicts) or "")),
    ]


def _common_facts(trace: Trace, *, reveal: bool) -> list[tuple[str, str, str]]:
    key, row = trace.key, trace.row
    in_redis = None if key is None else key.fields
    return [
        (
            "version",
            "" if key is None or not key.is_copy else "none" if key.version is None else str(key.version),
            "" if row is None else f"{row.version} (published: {row.published_version})",
        ),
        ("status", _status(in_redis, reveal=reveal) or "", _status(trace.row_fields, reveal=reveal) or ""),
        ("total", _total(in_redis), _total(trace.row_fields)),
        ("expires", _key_expiry(trace), "" if row is None or row.body is None else _moment(trace, row.expires_at)),
        (
            "size",
            f"{key.size:,} bytes" if key is not None and key.size else "",
            f"{len(row.body):,} bytes" if row is not None and row.body is not None else "",
        ),
    ]


def _key_state(trace: Trace) -> str:
    key = trace.key
    if key is None:
        return "not known"
    if key.state is KeyState.BROKEN:
        return f"{key.problem}: {key.detail}"
    return str(key.state)


def _row_state(trace: Trace) -> str:
    if trace.database_away:
        return "not known"
    if trace.row is None:
        return "no row"
    return "tombstone: it was deleted" if trace.row.body is None else "row"


def _key_expiry(trace: Trace) -> str:
    key = trace.key
    if key is None or key.state in {KeyState.MISSING, KeyState.CLAIMED}:
        return ""
    return "never" if key.ttl is None else _moment(trace, trace.now + key.ttl)


def _waits(trace: Trace) -> tuple[str, str]:
    key, row = trace.key, trace.row
    writes = 0 if key is None else key.dirty
    in_redis = f"{writes} {'write' if writes == 1 else 'writes'} for the database" if writes else ""
    if not writes and key is not None and key.waits:
        in_redis = "named in checkout:pending, and nothing waits"
    return in_redis, f"version {row.version} for Redis" if row is not None and row.is_pending else ""


def _flush(trace: Trace) -> str:
    flush = trace.expected
    if flush is None:
        return ""
    becomes = "" if flush.row is None else f": version {flush.row.version}"
    return f"{flush.result}{becomes}{', and a conflict' if flush.conflict and flush.row is not None else ''}"


def _index(trace: Trace) -> str:
    key = trace.key
    if key is None:
        return ""
    if key.score is None:
        return "not listed"
    if key.score == float("inf"):
        return "listed by an older program alone"
    return f"listed, to be looked at {_moment(trace, int(key.score))}"


def _moment(trace: Trace, moment: int | None) -> str:
    if moment is None:
        return ""
    if moment > trace.now:
        return f"in {span(moment - trace.now)}"
    return f"{span(trace.now - moment)} ago"


def _status(fields: Mapping[str, Any] | None, *, reveal: bool) -> str | None:
    if fields is None:
        return None
    shown = value_shown("paymentStatus", fields, reveal=reveal)
    return "pending" if shown is None else as_text(shown)


def _total(fields: Mapping[str, Any] | None) -> str:
    total = None if fields is None else Session("", dict(fields), 0, TierName.REDIS).total
    return "" if total is None else as_text(total)


def _difference(difference: Difference, *, reveal: bool) -> tuple[str, str, str]:
    shown = [
        _ABSENT if value is MISSING else as_text(value_shown(difference.name, {difference.name: value}, reveal=reveal))
        for value in (difference.in_redis, difference.in_database)
    ]
    if shown[0] == shown[1]:  # masked: that they differ may be told, not how
        shown[1] += " (another value)"
    return difference.name, shown[0], shown[1]


# What became of it


def show_answer(answer: Answer | UserAnswer, *, as_json: bool) -> None:
    if as_json:
        write_json(_user_document(answer) if isinstance(answer, UserAnswer) else answer)
    elif isinstance(answer, UserAnswer):
        _show_user(answer)
    else:
        _show(answer)


def _user_document(answer: UserAnswer) -> dict[str, Any]:
    tracked = answer.tracked
    return {
        "user": value_shown("userId", {"userId": answer.user_id}),
        "tracked": None if tracked is None else document(tracked, _TRACKED),
        "complete": answer.complete,
        "sessions": [document(one) for one in answer.answers],
    }


def _show(answer: Answer) -> None:
    write_line(f"session {safe(answer.trace.checkout_id)}: {safe(answer.sentence)}")
    for line in answer.evidence:
        write_line(f"  {safe(line)}")
    if answer.hint:
        narrate(f"next: {answer.hint}")


def _show_user(answer: UserAnswer) -> None:
    name = value_shown("userId", {"userId": answer.user_id})
    number = len(answer.answers)
    sessions = "no session is alive" if not number else "1 session" if number == 1 else f"{number} sessions"
    write_line(f"user {name}: {sessions}")
    if answer.tracked is None:
        narrate("nothing is tracked of this user in the last hours")
    else:
        write_line(
            f"  tracked: last seen {answer.tracked.last_seen}, last status {answer.tracked.last_status or 'none'}"
        )
    if not answer.complete:
        narrate("there may be more: not all sessions were looked at")
    for one in answer.answers:
        _show(one)

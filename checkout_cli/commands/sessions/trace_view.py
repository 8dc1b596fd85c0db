"""``sessions trace`` and ``sessions why`` as text and JSON. Masked unless revealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checkout_cli.commands.sessions.trace import MISSING, Difference, Trace, Trust
from checkout_cli.commands.sessions.view import as_text
from checkout_cli.commands.sessions.why_answer import Answer, UserAnswer
from checkout_cli.session import Session, TierName
from checkout_cli.store.database.inspection import RowView
from checkout_cli.store.redis.inspection import KeyState, KeyView
from checkout_cli.terminal.document import document
from checkout_cli.terminal.masking import fields_shown, id_shown, value_shown
from checkout_cli.terminal.output import columns_of, narrate, show_next, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe
from checkout_cli.units import money

_FACTS = columns_of("", "Redis", "database")
_DIFFERENCES = columns_of("field", "Redis", "database")
_NAMES = ("state", "version", "status", "total", "expires", "size", "created", "written", "copy", "waits", "index",
          "flush", "conflicts")  # fmt: skip
_ABSENT = "(not there)"
_TRACKED = "lastSeen lastStatus started=checkouts_started"


def show_trace(trace: Trace, *, as_json: bool, reveal: bool) -> None:
    if as_json:
        write_json(trace_document(trace, reveal=reveal))
        return
    in_redis, in_database = _redis_facts(trace, reveal=reveal), _database_facts(trace, reveal=reveal)
    facts = [(name, in_redis.get(name, ""), in_database.get(name, "")) for name in _NAMES]
    write_line(f"session {safe(id_shown(trace.checkout_id, reveal=reveal))}")
    write_table(_FACTS, [row for row in facts if any(row[1:])])
    for away in (trace.redis_away, trace.database_away):
        if away:
            narrate(f"not known: {away}")
    if trace.differences:
        write_line()
        write_table(_DIFFERENCES, list(_differences(trace, reveal=reveal)))
    elif trace.differences is not None:
        narrate("every field is the same in both")
    narrate("memory: every process of the shop has its own, which no other can see")


def trace_document(trace: Trace, *, reveal: bool) -> dict[str, Any]:
    """What could not be asked is ``null``, with the reason under ``away``."""
    away = {"redis": trace.redis_away, "database": trace.database_away}
    differences = _differences(trace, reveal=reveal)
    return {
        "checkoutId": id_shown(trace.checkout_id, reveal=reveal),
        "redis": _key_document(trace, trace.key, reveal=reveal),
        "database": _row_document(trace, trace.row, reveal=reveal),
        "conflicts": [document(conflict, "detectedAt@ source result") for conflict in trace.conflicts],
        "expected": trace.expected and document(trace.expected, "result version=row.version conflict"),
        "differences": [dict(zip(("field", "redis", "database"), cells, strict=True)) for cells in differences],
        "away": {tier: reason for tier, reason in away.items() if reason},
    }


def _key_document(trace: Trace, key: KeyView | None, *, reveal: bool) -> dict[str, Any] | None:
    if key is None:
        return None
    return {
        **document(key, "server=place state version"),
        "status": _status(key.fields, reveal=reveal),
        **document(trace, "expiresAt@=key_expires_at expiresInMs=key.ttl sizeBytes=key.size"),
        "trusted": None if trace.trust is None else trace.trust is Trust.TRUSTED,
        **document(trace, "trust dirty=key.dirty"),
        "external": key.value is not None and key.value.is_external,
        **document(key, "problem detail?"),
        "indexed": key.score is not None,
        "indexScore": None if key.score == float("inf") else key.score,
        "namedAsPending": key.waits,
    }


def _row_document(trace: Trace, row: RowView | None, *, reveal: bool) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "state": "tombstone" if row.body is None else "row",
        **document(row, "version publishedVersion pending=is_pending"),
        "status": _status(trace.row_fields, reveal=reveal),
        **document(row, "createdAt@ updatedAt@ expiresAt@"),
        "sizeBytes": len(row.body or b""),
    }


def _redis_facts(trace: Trace, *, reveal: bool) -> dict[str, str]:
    key, flush = trace.key, trace.expected
    if key is None:
        return {"state": "not known"}
    facts = {
        "state": f"{key.problem}: {key.detail}" if key.state is KeyState.BROKEN else str(key.state),
        "size": f"{key.size:,} bytes" if key.size else "",
        "copy": str(trace.trust or ""),
        "index": trace.index_in_words(),
    }
    if key.is_copy:
        facts |= {"version": "none" if key.version is None else str(key.version), **_amounts(key.fields, reveal=reveal)}
    if key.state not in {KeyState.MISSING, KeyState.CLAIMED}:
        facts["expires"] = "never" if key.ttl is None else trace.when(trace.now + key.ttl)
    if key.dirty:
        facts["waits"] = f"{key.dirty} {'write' if key.dirty == 1 else 'writes'} for the database"
    elif key.waits:
        facts["waits"] = "named in checkout:pending, and nothing waits"
    if flush is not None:
        becomes = "" if flush.row is None else f": version {flush.row.version}"
        facts["flush"] = f"{flush.result}{becomes}{', and a conflict' if flush.conflict and becomes else ''}"
    return facts


def _database_facts(trace: Trace, *, reveal: bool) -> dict[str, str]:
    row = trace.row
    facts = {"state": "not known" if trace.database_away else "no row", "conflicts": str(len(trace.conflicts) or "")}
    if row is None:
        return facts
    if not trace.database_away:
        facts["state"] = "tombstone: it was deleted" if row.body is None else "row"
    facts |= {
        "version": f"{row.version} (published: {row.published_version})",
        "created": trace.when(row.created_at),
        "written": trace.when(row.updated_at),
        "waits": f"version {row.version} for Redis" if row.is_pending else "",
        **_amounts(trace.row_fields, reveal=reveal),
    }
    if row.body is not None:
        facts |= {"expires": trace.when(row.expires_at), "size": f"{len(row.body):,} bytes"}
    return facts


def _amounts(fields: Mapping[str, Any] | None, *, reveal: bool) -> dict[str, str]:
    if fields is None:
        return {}
    total = Session("", dict(fields), 0, TierName.REDIS).total
    return {
        "status": _status(fields, reveal=reveal) or "",
        "total": "" if total is None else money(total),
    }


def _status(fields: Mapping[str, Any] | None, *, reveal: bool) -> str | None:
    if fields is None:
        return None
    shown = value_shown("paymentStatus", fields, reveal=reveal)
    return "pending" if shown is None else as_text(shown)


def _differences(trace: Trace, *, reveal: bool) -> Iterator[tuple[str, str, str]]:
    found = trace.differences or ()
    names = fields_shown({difference.name: None for difference in found}, reveal=reveal)
    return ((name, *_sides(difference, reveal=reveal)) for name, difference in zip(names, found, strict=True))


def _sides(difference: Difference, *, reveal: bool) -> tuple[str, str]:
    shown = [
        _ABSENT if value is MISSING else as_text(value_shown(difference.name, {difference.name: value}, reveal=reveal))
        for value in (difference.in_redis, difference.in_database)
    ]
    if shown[0] == shown[1]:  # masked: that they differ may be told, not how
        shown[1] += " (another value)"
    return shown[0], shown[1]


# What became of it


def show_answer(answer: Answer | UserAnswer, *, as_json: bool) -> None:
    if as_json:
        write_json(_user_document(answer) if isinstance(answer, UserAnswer) else _answer_document(answer))
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
        "sessions": [_answer_document(one) for one in answer.answers],
    }


def _answer_document(answer: Answer) -> dict[str, Any]:
    """With the status and the basket's value that are known last."""
    content = {"status": _status(answer.fields, reveal=False), "basketValue": _basket_value(answer)}
    return document(answer) | content


def _basket_value(answer: Answer) -> float | None:
    return None if answer.fields is None else Session("", dict(answer.fields), 0, TierName.REDIS).total


def _show(answer: Answer) -> None:
    write_line(f"session {safe(id_shown(answer.trace.checkout_id))}: {safe(answer.sentence)}")
    if answer.fields is not None:
        value = _basket_value(answer)
        basket = "no total" if value is None else f"basket {value:,.2f}"
        write_line(f"  status {safe(_status(answer.fields, reveal=False) or '')}, {basket}")
    for line in answer.evidence:
        write_line(f"  {safe(line)}")
    if answer.hint:
        show_next(answer.hint)


def _show_user(answer: UserAnswer) -> None:
    name = value_shown("userId", {"userId": answer.user_id})
    number = len(answer.answers)
    sessions = "no session is known" if not number else "1 session" if number == 1 else f"{number} sessions"
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

"""Sessions in a list, one by one, and after a write. Masked unless revealed, in every format."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from checkout_cli.commands.sessions.sessions import Written
from checkout_cli.errors import ExitCode
from checkout_cli.jobs.bounded_run import BoundedRun, Stopped
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.session import Durability, PaymentStatus, Session, iso
from checkout_cli.store.records import Sighting
from checkout_cli.terminal.document import document as json_of
from checkout_cli.terminal.listing import Listing
from checkout_cli.terminal.masking import acknowledged, fields_shown, id_shown, value_shown
from checkout_cli.terminal.output import (
    Column,
    columns_of,
    narrate,
    show_next,
    warn,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.typed import typed
from checkout_cli.units import money, span

_LIST = columns_of("id", "status", "-#items", "#total", "user", "-#age", "#expires in", "-tier", "?note")
_AMOUNT = re.compile(r"(total|price|amount|fee|charge|discount)$", re.IGNORECASE)
"""The names of fields with amounts of money."""
_FIELDS = columns_of("field", "value")
_WHY = "checkoutctl sessions why {}"
_ITEM_COLUMNS = {
    "product_id": Column("product"),
    "product_name": Column("name"),
    "category": Column("category"),
    "variant": Column("variant"),
    "quantity": Column("quantity", number=True),
    "unit_price": Column("unit price", number=True),
    "total_price": Column("total", number=True),
}
CSV_COLUMNS = ("checkoutId", "status", "items", "total", "userId", "createdAt", "ageSeconds", "expiresAt",
               "expiresInSeconds", "tier", "version", "external", "size", "problem", "detail", "dirty")  # fmt: skip


def expiry(sighting: Sighting, now: int) -> str:
    """The time left: a span, ``expired``, or ``never`` for a key without an end."""
    if sighting.expires_at is None:
        return "never"
    return span(sighting.expires_at - now) if sighting.expires_at > now else "expired"


# A list


def show_list(
    sightings: Iterable[Sighting],
    output: str,
    run: BoundedRun | None = None,
    *,
    now: int,
    limit: int,
    missing: Callable[[], Sequence[str]] = tuple,
    reveal: bool = False,
) -> ExitCode:
    """Sessions in one of the list formats, a part of them if ``run`` ended early; ``now`` is in milliseconds."""

    def more() -> dict[str, Any]:
        looked_at = {} if run is None or run.finished else {"lookedAt": run.looked_at}
        return {"partial": bool(missing() or looked_at), "missingServers": list(missing()), **looked_at}

    exit_code = Listing(
        "sessions",
        sightings,
        _LIST,
        row=lambda sighting: _row(sighting, now, reveal),
        document=lambda sighting: summary(sighting, now, reveal=reveal),
        id_of=lambda sighting: sighting.checkout_id,
        is_left_out=lambda sighting: not reveal and is_personal(sighting.checkout_id),
        csv=CSV_COLUMNS,
        nothing="no sessions",
        more=more,
        missing=missing,
        short_ids=True,
    ).show(output, lambda number: f"the first {limit:,}; there may be more: --limit" if number == limit else "")
    if run is None or run.finished:
        return exit_code
    warn_of_more(run.looked_at, run.seconds)
    return ExitCode.INTERRUPTED if run.stopped is Stopped.INTERRUPTED else ExitCode.FINDING


def warn_of_more(looked_at: int, seconds: float) -> None:
    """Say that there are entries that were not looked at in the time there was."""
    warn(f"partial: looked at {looked_at:,} entries of the index, and there are more")
    longer = max(60, 10 * math.ceil(seconds))
    narrate(f"--max-seconds {longer:d} looks at more")
    show_next("checkoutctl cleanup --index")  # which removes the dead among them


def summary(sighting: Sighting, now: int, *, reveal: bool = False) -> dict[str, Any]:
    """A session of a list as JSON; ``now`` is in milliseconds."""
    session = sighting.session
    created_at = None if session is None else session.created_at
    return {
        "checkoutId": id_shown(sighting.checkout_id, reveal=reveal),
        "status": None if session is None else _status(session, reveal),
        "items": None if session is None else len(session.items),
        "total": None if session is None else session.total,
        "userId": None if session is None else value_shown("userId", session.fields, reveal=reveal),
        "createdAt": None if created_at is None else iso(created_at),
        "ageSeconds": None if created_at is None else max(0, (now - created_at) // 1000),
        "expiresAt": None if sighting.expires_at is None else iso(sighting.expires_at),
        "expiresInSeconds": None if sighting.expires_at is None else max(0, (sighting.expires_at - now) // 1000),
        "tier": str(sighting.tier),
        "version": None if session is None else session.version,
        "external": session is not None and session.external,
        "size": sighting.size,
        "problem": None if sighting.problem is None else str(sighting.problem),
        "detail": sighting.detail or None,
        "dirty": 0 if session is None or session.external else session.dirty,
    }


def _status(session: Session, reveal: bool) -> str:
    shown = value_shown("paymentStatus", session.fields, reveal=reveal)
    return as_text(shown) if shown is not None else str(PaymentStatus.PENDING)


def _row(sighting: Sighting, now: int, reveal: bool) -> list[str]:
    row = summary(sighting, now, reveal=reveal)
    created_at = None if sighting.session is None else sighting.session.created_at
    return [
        row["checkoutId"],
        row["problem"] or row["status"],
        *("" if row[name] is None else as_text(row[name], name) for name in ("items", "total", "userId")),
        "" if created_at is None else span(now - created_at),
        expiry(sighting, now),
        row["tier"],
        "external" if row["external"] else "waits for the database" if row["dirty"] else sighting.detail,
    ]


# One session


def document(sighting: Sighting, now: int, *, reveal: bool = False) -> dict[str, Any]:
    """A whole session as JSON; ``fields`` is ``null`` for an unreadable value."""
    session = sighting.session
    return {
        **summary(sighting, now, reveal=reveal),
        "expired": sighting.has_expired(now),
        "verified": session is not None and session.verified,
        "revealed": reveal,
        "fields": None if session is None else fields_shown(session.fields, reveal=reveal),
    }


def show_session(sighting: Sighting, now: int, *, as_json: bool, reveal: bool = False) -> None:
    """Facts of the store, fields, and items in a table of their own."""
    whole = document(sighting, now, reveal=reveal)
    if as_json:
        write_json(whole)
        return
    fields = dict(whole["fields"] or {})
    items = fields.get("items")
    if not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
        items = []  # something else, shown among the fields
    if items:
        del fields["items"]
    fields.pop("checkoutId", None)
    write_table(_FIELDS, [*_facts(sighting, whole, now), *_flat(fields)])
    if whole["expired"]:
        narrate(f"it has expired; its row is kept until the next clean-up. next: {typed(_WHY, sighting.checkout_id)}")
    if items:
        write_line()
        _show_items(items)


def _facts(sighting: Sighting, whole: Mapping[str, Any], now: int) -> list[tuple[str, str]]:
    """In upper case, so that no field can be taken for one of them."""
    facts = [
        ("ID", whole["checkoutId"]),
        ("STATUS", f"{whole['problem']}: {sighting.detail}" if whole["problem"] else whole["status"]),
        ("TIER", whole["tier"] if whole["verified"] or whole["problem"] else f"{whole['tier']}, not verified"),
        ("VERSION", _version(whole)),
        ("EXPIRED", f"{span(now - (sighting.expires_at or now))} ago ({whole['expiresAt']})")
        if whole["expired"]
        else ("EXPIRES IN", expiry(sighting, now) + (f" ({whole['expiresAt']})" if whole["expiresAt"] else "")),
        ("SIZE", f"{sighting.size:,} bytes"),
    ]
    return [(name, shown) for name, shown in facts if shown != "null"]


def _version(whole: Mapping[str, Any]) -> str:
    if whole["external"]:
        return f"{whole['version']}, by an external writer" if whole["version"] else "none: an external writer's"
    version = as_text(whole["version"]) if whole["version"] != 0 else "none yet"
    dirty = whole["dirty"]
    return f"{version}, and {dirty} {'write' if dirty == 1 else 'writes'} for the database" if dirty else version


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif path:
        yield path, as_text(value, path)


def as_text(value: object, path: str = "") -> str:
    """Text as it is, a number in a field of amounts as money, anything else as JSON."""
    if isinstance(value, int | float) and not isinstance(value, bool) and _AMOUNT.search(path):
        return money(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _show_items(items: Sequence[Mapping[str, Any]]) -> None:
    known = [name for name in _ITEM_COLUMNS if any(name in item for item in items)]
    other = [{name: value for name, value in item.items() if name not in known} for item in items]
    columns = [_ITEM_COLUMNS[name] for name in known]
    rows = [["" if item.get(name) is None else as_text(item[name], name) for name in known] for item in items]
    if any(other):
        columns.append(Column("other"))
        for row, rest in zip(rows, other, strict=True):
            row.append(", ".join(f"{path}={text}" for path, text in _flat(rest)))
    write_table(columns, rows)


# What became of a write


_DEGRADED = {
    Durability.DATABASE: "the database has it and Redis does not yet; it is published as soon as Redis is back",
    Durability.REDIS: "Redis alone has it; the database gets it as soon as that is back (checkoutctl sync)",
    Durability.MEMORY: "only this process has it, and it is lost when that ends",
}


def show_written(written: Written, *, what: str, as_json: bool) -> None:
    """The id on stdout, to be captured; everything else on stderr."""
    acknowledgement = written.acknowledgement
    session = acknowledgement.session
    if as_json:
        write_json({**json_of(written), "checkoutId": acknowledged(session.checkout_id)})
    else:
        write_line(acknowledged(session.checkout_id))
        narrate(
            f"{what}: {f'version {session.version}' if session.version else 'no version yet'}, "
            f"durability {acknowledgement.durability}, "
            f"published to Redis: {'yes' if acknowledgement.published else 'no'}"
        )
    if written.degraded:
        warn(_DEGRADED[acknowledgement.durability])


def describe(sighting: Sighting, now: int) -> str:
    """One line about a session that is about to be deleted."""
    row = summary(sighting, now)
    parts = [row["problem"] or row["status"]]
    if sighting.session is not None:
        parts.append("1 item" if row["items"] == 1 else f"{row['items']} items")
        parts.append("no total" if row["total"] is None else f"total {money(row['total'])}")
    name = acknowledged(sighting.checkout_id)
    return f"session {name}: {', '.join(parts)}, in {row['tier']}, expires in {expiry(sighting, now)}"

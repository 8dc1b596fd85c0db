"""Conflicts: both sides of each, field by field."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from checkout_cli.commands.sync.conflicts import Conflicts, Resolution, same
from checkout_cli.session import decode
from checkout_cli.store.database.flush_log import Conflict
from checkout_cli.terminal.csv_writer import write_csv
from checkout_cli.terminal.document import document
from checkout_cli.terminal.masking import OTHER, fields_shown, id_shown
from checkout_cli.terminal.output import columns_of, narrate, write, write_json, write_line, write_ndjson, write_table
from checkout_cli.terminal.safe import safe
from checkout_cli.units import span

_CONFLICT = "writeId checkoutId source result detectedAt@ baseVersion foundVersion"
_CSV = ("writeId", "checkoutId", "source", "result", "detectedAt", "baseVersion", "foundVersion", "deleted",
        "writtenBytes")  # fmt: skip
_SIDES = columns_of("field", "database", "written")
_MISSING: Any = object()


def show_conflicts(found: Conflicts, output: str, *, reveal: bool) -> None:
    """Both sides of each as a ``table`` of its own, or in one of the other list formats."""
    documents = (_conflict_document(conflict, reveal) for conflict in found.conflicts)
    if output == "json":
        write_json({"count": found.number, "revealed": reveal, "conflicts": list(documents)})
        return
    if output == "ndjson":
        write_ndjson(documents)
    elif output == "csv":
        write_csv(_CSV, ([conflict[name] for name in _CSV] for conflict in documents))
    elif output == "ids":
        write("".join(f"{safe(conflict.write_id)}\n" for conflict in found.conflicts))
    else:
        _show_tables(found, reveal)
    if not found.conflicts:
        narrate("no conflicts")
        return
    if found.number > len(found.conflicts):
        narrate(f"the newest {len(found.conflicts):,} of {found.number:,}: --limit")


def _show_tables(found: Conflicts, reveal: bool) -> None:
    for place, conflict in enumerate(found.conflicts):
        if place:
            write_line()
        write_line(safe(_title(conflict, found.now, reveal=reveal)))
        rows = [(field, _text(one), _text(other)) for field, one, other in differences(conflict, reveal=reveal)]
        write_table(_SIDES, rows or [("(no field differs)", "", "")])


def _title(conflict: Conflict, now: int, *, reveal: bool = False) -> str:
    base = f"version {conflict.base_version:,}" if conflict.base_version else "nothing"
    if conflict.found_version is None:
        found = "the database had no such session"
    elif conflict.found_body is None:
        found = f"the session was deleted in version {conflict.found_version:,}"
    else:
        found = f"the database had version {conflict.found_version:,}"
    result = "" if conflict.result == "conflict" else f"; {conflict.result}"
    return (
        f"write {conflict.write_id} of session {id_shown(conflict.checkout_id, reveal=reveal)}, "
        f"from {_SOURCES.get(conflict.source, OTHER)}, "
        f"{span(now - conflict.detected_at)} ago: it grew from {base}, and {found}{result}"
    )


_SOURCES = {"redis": "Redis", "memory": "memory", "external": "an external writer"}


def _conflict_document(conflict: Conflict, reveal: bool) -> dict[str, Any]:
    found, written = _database_fields(conflict), conflict.fields
    return {
        **document(conflict, _CONFLICT),
        "checkoutId": id_shown(conflict.checkout_id, reveal=reveal),
        "deleted": conflict.found_version is not None and conflict.found_body is None,
        "differences": [
            {"field": field, "database": _or_null(one), "written": _or_null(other)}
            for field, one, other in differences(conflict, reveal=reveal)
        ],
        "database": None if conflict.found_body is None else fields_shown(found, reveal=reveal),
        "written": None if written is None else fields_shown(written, reveal=reveal),
        "writtenBytes": len(conflict.written),
        "writtenBase64": base64.b64encode(conflict.written).decode() if reveal and written is None else None,
    }


def _or_null(value: Any) -> Any:
    return None if value is _MISSING else value


def _database_fields(conflict: Conflict) -> dict[str, Any]:
    return {} if conflict.found_body is None else decode(conflict.found_body)


def differences(conflict: Conflict, *, reveal: bool = False) -> list[tuple[str, Any, Any]]:
    """Path and shown values of each difference; compared before masking, so that masked ones are told apart."""
    found, written = _database_fields(conflict), conflict.fields
    if written is None:
        database = _MISSING if conflict.found_body is None else "a session"
        return [("", database, f"{len(conflict.written):,} bytes, no session")]
    for side in (found, written):
        side.pop("expiresAt", None)  # it moves with every use, so it says nothing about what the two sides wanted
    shown = fields_shown(found, reveal=reveal), fields_shown(written, reveal=reveal)
    return list(_different("", (found, written), shown))


def _different(path: str, values: tuple[Any, Any], shown: tuple[Any, Any]) -> Iterator[tuple[str, Any, Any]]:
    if _MISSING not in values and same(*values):
        return
    if all(isinstance(side, dict) for side in (*values, *shown)):
        one, other = (_named(value, look) for value, look in zip(values, shown, strict=True))
        for name in dict.fromkeys((*one, *other)):
            label, first, first_shown = one.get(name, (None, _MISSING, _MISSING))
            other_label, second, second_shown = other.get(name, (None, _MISSING, _MISSING))
            inner = label or other_label or ""
            yield from _different(f"{path}.{inner}" if path else inner, (first, second), (first_shown, second_shown))
    elif all(isinstance(side, list) for side in (*values, *shown)):
        pairs = zip(zip_longest(*values, fillvalue=_MISSING), zip_longest(*shown, fillvalue=_MISSING), strict=True)
        for place, (inner_values, inner_shown) in enumerate(pairs):
            yield from _different(f"{path}[{place}]", inner_values, inner_shown)
    else:
        yield path, *shown


def _named(value: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, tuple[str, Any, Any]]:
    """By its own name: the name to show, the value, and the value to show."""
    return {
        name: (label, inner, shown_inner)
        for (name, inner), (label, shown_inner) in zip(value.items(), shown.items(), strict=True)
    }


def _text(value: Any) -> str:
    if value is _MISSING:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def describe_conflict(conflict: Conflict, now: int) -> list[str]:
    """Masked lines for the question whether to settle it."""
    sides = [
        f"  {field}: the database {_text(one) or 'nothing'}, written {_text(other) or 'nothing'}"
        for field, one, other in differences(conflict)
    ]
    return [_title(conflict, now), *sides]


def show_resolution(resolution: Resolution, *, as_json: bool) -> None:
    conflict = resolution.conflict
    if as_json:
        write_json(resolution)
    else:
        verb = "settled" if resolution.done else "would settle"
        became = "" if resolution.version is None else f", version {resolution.version:,}"
        write_line(f"{verb} {conflict.write_id}: {resolution.keep} kept{became}")

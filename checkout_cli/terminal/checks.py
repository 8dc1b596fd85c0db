"""How checks look wherever there are some: a finding's fix below it, and what ``--explain`` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from checkout_cli.checks import Check
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import write_json, write_line


def with_fixes(rows: Iterable[tuple[Sequence[str], str]]) -> Iterator[Sequence[str]]:
    """Rows of a table, each followed by its fix in the last column, where it has one."""
    for row, fix in rows:
        yield row
        if fix:
            yield (*[""] * (len(row) - 1), f"→ {fix}")


def show_explanations(
    checks: Iterable[Check[Any]], headings: Mapping[str, str] = MappingProxyType({}), *, as_json: bool
) -> None:
    """What checks look for, and what they need; ``headings`` are longer names of groups."""
    if as_json:
        write_json({"checks": [document(check) for check in checks]})
        return
    for number, check in enumerate(checks):
        if number:
            write_line()
        write_line(f"{check.id} ({headings.get(check.group, check.group)})")
        for line in check.explanation.splitlines():
            write_line(f"  {line}".rstrip())
        if check.needs:
            write_line(f"  needs: {', '.join(check.named_needs)}")

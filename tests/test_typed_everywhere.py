"""No command that is printed to be typed has data in it that did not go through ``typed()``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import checkout_cli

SOURCE = Path(checkout_cli.__file__).parent
COMMAND = re.compile(
    r"(?:^|[\s;&|:`('])(?:checkoutctl [a-z-]|redis-cli |sudo |chmod |chown |df -|ls -|sqlite3 |openssl |getent |kill -|"
    r"systemctl |ss -|lsof |tail |cat |fuser |createdb|--cursor |[A-Z]+_[A-Z_]+=)"
)
"""How a command begins in a text, or its last part."""
OTHERS = {
    "cli/main.py": "the answer to --version",
    "commands/cron/jobs.py": "a crontab and systemd's units, quoted by their own rules and tested with them",
    "commands/cron/view.py": "what a job said, and the names of our units",
    "commands/record.py": "the examples of the help",
    "files/audit_trail.py": "the command that has --reveal, in our own words",
    "commands/demo/view.py": "what the demonstration itself typed",
}


def is_constant(node: ast.expr) -> bool:
    """Whether it is no data: a constant of the module, a command made by ``typed``, or a number with a format."""
    if isinstance(node, ast.IfExp):
        return isinstance(node.body, ast.Constant) and isinstance(node.orelse, ast.Constant)
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") == "typed"
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return bool(name) and name == name.upper()


def unquoted(text: str) -> Iterator[tuple[int, str]]:
    """The lines of data in commands."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "shlex.quote":
            yield node.lineno, ast.unparse(node)
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for value in node.values:
            if isinstance(value, ast.Constant):
                before += str(value.value)
            elif isinstance(value, ast.FormattedValue):
                is_number = value.format_spec is not None
                if COMMAND.search(before) and not is_number and not is_constant(value.value):
                    yield node.lineno, ast.unparse(node)
                before += "…"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_data_in_a_command_goes_through_typed(path: Path) -> None:
    if str(path.relative_to(SOURCE)) not in {"typed.py", *OTHERS}:
        assert list(unquoted(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        'hint = f"checkoutctl sessions show {checkout_id}"',
        'warn(f"go on with --cursor {report.cursor}")',
        'fix = f"df -h {path.parent}; make room"',
        'fix = f"{number} of them: redis-cli DEL {key}"',
        'hint = f"ls -l {shlex.quote(path)}"',
        "address = shlex.quote(host)",
        'hint = f"REDIS_HOST={address} checkoutctl ping"',
    ],
)
def test_a_new_one_would_be_found(line: str) -> None:
    assert list(unquoted(line))


@pytest.mark.parametrize(
    "line",
    [
        "hint = typed('checkoutctl sessions show {}', checkout_id)",
        'narrate(f"to go on: {typed(template, cursor)}")',
        'warn(f"{number:,} entries have no session: checkoutctl cleanup --index")',
        'fix = f"redis-cli TYPE {INDEX}"',
        'fix = f"checkoutctl memory families --sample {sample:d}"',
    ],
)
def test_what_is_quoted_or_no_data_passes(line: str) -> None:
    assert not list(unquoted(line))

"""Whatever this program writes goes through ``files/atomic_file.py``, which follows no link of a stranger's."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import checkout_cli

SOURCE = Path(checkout_cli.__file__).parent
WRITERS = {"write_text", "write_bytes", "mkstemp", "NamedTemporaryFile", "symlink_to", "FileHandler"}
ELSEWHERE = {
    "files/atomic_file.py": "it is the place",
    "config/trusted_file.py": "os.open, to read",
    "terminal/output.py": "the null device",
    "terminal/log.py": "open with an opener of atomic_file.py",
    "servers/embedded.py": "the server's log, in the directory that was made for it",
}


def _writes(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in WRITERS:
        return True
    if name != "open":
        return False
    if getattr(getattr(call.func, "value", None), "id", "") == "os":
        return True
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    is_file = bool(modes) or (isinstance(call.func, ast.Name) and len(call.args) > 1)
    return is_file and (not modes or any(set(mode) & set("wax+") for mode in modes))


def writing_calls(text: str) -> Iterator[int]:
    """The lines that open a file to write."""
    return (node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and _writes(node))


def test_no_other_module_opens_a_file_to_write() -> None:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if any(writing_calls(path.read_text()))}
    assert found == set(ELSEWHERE)


def test_a_new_one_would_be_found() -> None:
    for line in ('path.open("a")', 'open(name, "wb")', "os.open(path, flags)", 'path.write_text("x")', "open(p, mode)"):
        assert list(writing_calls(line)) == [1], line
    for line in ('path.open("rb")', "CheckoutStore.open(settings)", "path.read_text()"):
        assert not list(writing_calls(line)), line

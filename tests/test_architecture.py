"""The description of the architecture names what is there, all of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "checkout_cli"
TEXT = (PACKAGE / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_every_path_that_it_names_exists() -> None:
    paths = set(re.findall(r"`([a-z_/]+(?:/|\.py))`", TEXT))
    assert len(paths) > 30
    missing = [path for path in paths if not any((place / path).exists() for place in (ROOT, PACKAGE))]
    assert missing == []


def test_every_room_and_every_module_beside_them_is_named() -> None:
    rooms = {f"{each.name}/" for each in PACKAGE.iterdir() if (each / "__init__.py").exists()}
    modules = {each.name for each in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert [name for name in sorted(rooms | modules) if f"`{name}`" not in TEXT] == []


def test_every_module_of_the_core_is_named() -> None:
    modules = {each.name for each in (PACKAGE / "store" / "protocol").glob("*.py")} - {"__init__.py", "row.py"}
    assert [name for name in sorted(modules) if f"`store/protocol/{name}`" not in TEXT] == []


def test_the_code_refers_to_points_that_there_are() -> None:
    points = set(re.findall(r"^([0-9]+)\. \*\*", TEXT, re.MULTILINE))
    assert points == {str(number) for number in range(1, 15)}
    files = [each for kind in ("*.py", "*.lua") for each in PACKAGE.rglob(kind)]
    referred = [re.findall(r"ARCHITECTURE\.md, points? ([0-9]+)", each.read_text(encoding="utf-8")) for each in files]
    found = {number for numbers in referred for number in numbers}
    assert len(found) > 4
    assert found <= points


# What commands ask of Redis has a name in the store or in servers: they send no commands of Redis themselves

SENDING = {"ask", "ask_all", "exchange", "send"}
COMMANDS = {"GET", "SET", "DEL", "PTTL", "STRLEN", "INFO", "CONFIG", "SCAN", "SCARD", "ZCARD", "HGETALL"}
SENDERS = {
    "commands/ping/ping.py": "times the protocol itself, on a connection of its own",
    "commands/acl/check.py": "tries each of Redis' commands, to tell who may run it",
    "commands/doctor/connection.py": "tries some of Redis' commands, to tell which are denied",
    "commands/memory/measure.py": "the sampler of keys, whose commands are packed beforehand",
    "commands/memory/sample.py": "the sampler of keys",
    "commands/memory/eviction.py": "the sampler of keys",
    "domain/cache.py": "a cache in Redis, with scripts of its own",
}
"""Who does, and why."""


def sent_by(text: str) -> list[str]:
    """The commands of Redis that a module names: in a call that sends, or as the beginning of a tuple."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDING:
            words = (word.value for word in ast.walk(node) if isinstance(word, ast.Constant))
            found += [word for word in words if isinstance(word, str) and word.isupper()]
        elif isinstance(node, ast.Tuple):
            words = [word.value for word in node.elts[:2] if isinstance(word, ast.Constant)]
            found += [word for word in words[:1] if word in COMMANDS and words != ["GET", "HEAD"]]  # HTTP's own
    return found


def test_commands_send_no_commands_of_redis() -> None:
    rooms = [path for room in ("commands", "jobs", "domain") for path in (PACKAGE / room).rglob("*.py")]
    senders = {str(path.relative_to(PACKAGE)): sent_by(path.read_text(encoding="utf-8")) for path in rooms}
    assert {name: sent for name, sent in senders.items() if sent and name not in SENDERS} == {}
    assert [name for name in SENDERS if name in senders and not senders[name]] == [], "these do not any more"


@pytest.mark.parametrize(
    "line",
    [
        'store.redis.ask(("GET", key))',
        'server.ask_all(*(("STRLEN", key) for key in keys), lenient=True)',
        'commands = [("PTTL", key) for key in keys]',
        'identity, _ = server.exchange([("PING",)])',
    ],
)
def test_one_that_did_would_be_noticed(line: str) -> None:
    assert sent_by(line) != []

"""The description of the architecture names what is there, all of it."""

from __future__ import annotations

import re
from pathlib import Path

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
    assert points == {str(number) for number in range(1, 14)}
    files = [each for kind in ("*.py", "*.lua") for each in PACKAGE.rglob(kind)]
    referred = [re.findall(r"ARCHITECTURE\.md, points? ([0-9]+)", each.read_text(encoding="utf-8")) for each in files]
    found = {number for numbers in referred for number in numbers}
    assert len(found) > 4
    assert found <= points

"""What is declared, locked and packed goes together. That it installs and runs is tried by .ci/run."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = ROOT / ".ci" / "requirements.lock"


def declared() -> Sequence[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for lines in PROJECT["optional-dependencies"].values() for line in lines)]
    return [found for found in map(Requirement, lines) if found.name != PROJECT["name"]]


def locked() -> dict[str, str]:
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pinned}


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_the_lock_has_each_dependency_in_a_version_that_is_allowed(requirement: Requirement) -> None:
    assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_each_dependency_has_a_lowest_version(requirement: Requirement) -> None:
    assert any(specifier.operator == ">=" for specifier in requirement.specifier)


def test_every_locked_version_has_a_hash_and_no_index_is_named() -> None:
    text = LOCK.read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "://" not in text
    assert "index-url" not in text


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "checkout_cli" / "py.typed").exists()
    assert "Typing :: Typed" in PROJECT["classifiers"]

"""What Next.js reads in an environment file, and how a value is written so that both read the same.

The values on the right were read by dotenv 18, dotenv-expand and @next/env 16 on 2026-12-01.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.config.env_files import Reading, other_env_files, readings, spelled_alike

BY_NEXT: dict[str, str | None] = {
    r"pa\$word": "pa$word",
    "pa$word": None,
    "'pa$word'": None,
    '"pa$word"': None,
    "pa${word}": None,
    "${X:-def}": None,
    "$$x": None,
    "`back tick`": "back tick",
    "`a$b`": None,
    "a#b": "a",
    "a #b": "a",
    "#all": "",
    '"a#b"': "a#b",
    "'a'#c": "a",
    r"'it\'s'": r"it\'s",
    r'"a\nb"': "a\nb",
    r"'a\nb'": r"a\nb",
    r'"a\tb"': r"a\tb",
    r'"a\"b"': r"a\"b",
    r"'a\\b'": r"a\\b",
    r"a\b": r"a\b",
    "  spaced  ": "spaced",
    '"multi\nline"': "multi\nline",
    'a"b': 'a"b',
    "'a\"b'": 'a"b',
    "pass'word'": "pass'word'",
    "100%$": "100%$",
    r"100\$": "100$",
    r"a\\$x": r"a\$x",
    r"'a\\$x'": r"a\$x",
    r"\$\$": "$$",
    "a$-b": "a$-b",
    "": "",
}
DIFFERENT = [
    "pa$word",
    "'pa$word'",
    "pa${word}",
    "`back tick`",
    "a#b",
    "#all",
    r"'it\'s'",
    r'"a\tb"',
    r'"a\"b"',
    r"'a\\b'",
    r"'a\\$x'",
]


def only(line: str) -> Reading:
    (found,) = readings(line)
    return found


@pytest.mark.parametrize(("raw", "value"), BY_NEXT.items())
def test_what_next_reads_is_known(raw: str, value: str | None) -> None:
    assert only(f"X={raw}\n").nexts == value


@pytest.mark.parametrize("raw", BY_NEXT)
def test_a_difference_is_known_where_there_is_one(raw: str) -> None:
    assert only(f"export X={raw}\n").is_alike is not (raw in DIFFERENT or BY_NEXT[raw] is None)


@given(st.text(alphabet="ab$x1{}\\'\"`# n=:-%@é", max_size=12))
def test_a_spelling_is_read_alike_or_there_is_none(text: str) -> None:
    spelled = spelled_alike(text)
    if spelled is not None:
        found = only(f"X={spelled}\n")
        assert found.ours == found.nexts == text


@pytest.mark.parametrize("text", ["pa$word", "a#b", "it's", "a b", 'a"b', r"a\b", "${X}", "100%", " a ", ""])
def test_the_usual_values_have_such_a_spelling(text: str) -> None:
    assert spelled_alike(text) is not None


def test_the_environment_files_that_nobody_reads_here_are_found(tmp_path: Path) -> None:
    for name in (
        ".env",
        ".env.local",
        ".env.production",
        ".env.test.local",
        ".env.example",
        ".env.local.bak",
        ".envrc",
    ):
        (tmp_path / name).write_text("REDIS_HOST=x\n")
    (tmp_path / ".env.d").mkdir()
    found = other_env_files(tmp_path, {tmp_path / ".env", tmp_path / ".env.local"})
    assert [path.name for path in found] == [".env.production", ".env.test.local"]

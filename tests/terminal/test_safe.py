from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.terminal.safe import safe

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b]52;c;aGVsbG8=\x07", "\\x1b]52;c;aGVsbG8=\\x07"),
        ("\x1b]8;;http://x\x1b\\link", "\\x1b]8;;http://x\\x1b\\link"),
        ("\x9b2J", "\\x9b2J"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("paid\u202edelecnac", "paid\\u202edelecnac"),
        ("a\u200bb\u2066c\ufeff", "a\\u200bb\\u2066c\\ufeff"),
        ("two\r\nlines", "two\\r\\nlines"),
        ("tab\there", "tab\\there"),
        ("nul\x00", "nul\\x00"),
        ("back\x08space\x7f", "back\\x08space\\x7f"),
        ("line\u2028and\u2029paragraph", "line\\u2028and\\u2029paragraph"),
        ("half \ud83d", "half \\ud83d"),
        ("private \ue000", "private \\ue000"),
        ("\U000e0001tag", "\\U000e0001tag"),
    ],
)
def test_what_could_act_on_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    "text", ["", "plain", "Ünïcödé", "日本語", "🍰", "[red]", "[/]", "[link=file:///]x[/link]", "%s{0}"]
)
def test_what_is_only_text_is_left_alone(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "None"), (1.5, "1.5"), (["\x1b"], "['\\x1b']"), (b"\x1b", "b'\\x1b'")]
)
def test_anything_can_be_shown(value: object, shown: str) -> None:
    assert safe(value) == shown


def test_no_character_of_unicode_gets_through_that_should_not() -> None:
    through = safe("".join(map(chr, range(sys.maxunicode + 1))))
    assert {unicodedata.category(character) for character in set(through)}.isdisjoint(UNSAFE)


@given(st.text(st.characters()))
def test_the_result_can_be_written_in_utf_8_and_is_one_line(text: str) -> None:
    shown = safe(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert safe(shown) == shown

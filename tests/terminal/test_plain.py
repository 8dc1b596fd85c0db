from __future__ import annotations

import pytest

from checkout_cli.terminal.plain import ERRORS


def test_bars_and_signs_have_an_ascii_spelling_of_their_own() -> None:
    assert "▁▄█░ 3 … → ≥ 2 ×".encode("ascii", ERRORS) == b".=#. 3 ... -> >= 2 x"


def test_levels_of_a_bar_stay_different() -> None:
    assert len(set("·▁▂▃▄▅▆▇█".encode("ascii", ERRORS))) == 9


def test_any_other_character_is_an_escape() -> None:
    assert "łódź 日".encode("ascii", ERRORS) == rb"\u0142\xf3d\u017a \u65e5"


def test_a_character_that_the_encoding_has_stays() -> None:
    assert "café …".encode("latin-1", ERRORS) == "café ...".encode("latin-1")


def test_an_error_of_decoding_stays_an_error() -> None:
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("utf-8", ERRORS)

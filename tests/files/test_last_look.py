from __future__ import annotations

import stat
from pathlib import Path

import pytest
from msgspec import structs

from checkout_cli.files import state_file
from checkout_cli.files.last_look import LASTING, Growth, LastLook, Reading


def test_a_reading_is_found_again_by_command_and_server(tmp_path: Path) -> None:
    look = LastLook(tmp_path)
    assert look.previous("doctor", "a:1") is None
    reading = Reading(1_000, "run", {"evicted_keys": 3.0})
    look.remember("doctor", "a:1", reading)
    assert LastLook(tmp_path).previous("doctor", "a:1") == reading
    assert look.previous("memory", "a:1") is None
    assert look.previous("doctor", "a:2") is None


def test_growth_is_since_the_earlier_reading_or_since_the_servers_start(tmp_path: Path) -> None:
    earlier = Reading(0, "run", {"x": 10})
    assert Reading(1, "run", {"x": 13}).since(earlier, "x") == 3
    assert Reading(1, "other run", {"x": 4}).since(earlier, "x") == 4  # it was restarted: all of it is new
    assert Reading(1, "run", {"x": 4}).since(earlier, "x") == 4  # its counters were set back
    assert Reading(1, "run", {"x": 4}).since(None, "x") is None
    assert Reading(1, "run", {}).since(earlier, "x") is None
    assert Reading(1, "run", {"y": 4}).since(earlier, "y") == 4
    assert Reading(90_500, "run", {}).seconds_since(earlier) == 90.5


def test_a_growth_lasts_an_hour_and_no_longer() -> None:
    first = Reading(0, "run", {"x": 10, "y": 1})
    grown = Reading(1_000, "run", {"x": 13, "y": 1})
    grown = structs.replace(grown, found=grown.growths(first, ("x", "y")))
    assert grown.found == {"x": Growth(3, 1_000)}
    same = {"x": 13.0, "y": 1.0}
    assert Reading(LASTING + 999, "run", same).growths(grown, ("x",)) == {"x": Growth(3, 1_000)}
    assert Reading(LASTING + 1_000, "run", same).growths(grown, ("x",)) == {}
    assert Reading(0, "run", same).growths(grown, ("x",)) == {}  # noticed in the future: the clock was set back
    assert Reading(5, "run", same).growths(None, ("x",)) == {}
    assert Reading(2_000, "run", {"x": 14}).growths(grown, ("x",)) == {"x": Growth(1, 2_000)}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"doctor a:1": 3}', b'{"doctor a:1": {"taken_at": "x"}}'])
def test_a_damaged_file_counts_as_empty_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    look = LastLook(tmp_path)
    look.path.write_bytes(content)
    assert look.previous("doctor", "a:1") is None
    look.remember("doctor", "a:1", Reading(1, "run", {}))
    assert look.previous("doctor", "a:1") == Reading(1, "run", {})


def test_it_is_for_its_owner_alone_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "MOST_ENTRIES", 2)
    look = LastLook(tmp_path / "state")
    for number in range(4):
        look.remember("doctor", f"a:{number}", Reading(number, "run", {}))
    assert stat.S_IMODE(look.path.stat().st_mode) == 0o600
    assert [look.previous("doctor", f"a:{number}") is not None for number in range(4)] == [False, False, True, True]


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory")
    with pytest.raises(OSError, match="state"):
        LastLook(tmp_path / "state").remember("doctor", "a:1", Reading(1, "run", {}))
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_it_is_in_the_users_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert LastLook().path == tmp_path / "checkoutctl" / "last-look.json"

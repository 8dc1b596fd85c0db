from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.commands.incident import diff as incident_diff
from checkout_cli.commands.incident.diff import KIND, Change, compare
from checkout_cli.errors import InvalidInput


def written(place: Path, name: str, **parts: Any) -> Path:
    path = place / name
    path.write_text(json.dumps({"schemaVersion": 1, "kind": KIND, "timestamp": name, **parts}))
    return path


def test_what_changed_is_told_with_both_values_and_what_matters_first(tmp_path: Path) -> None:
    old = written(
        tmp_path,
        "a",
        info={"memory": {"used_memory": 100}},
        doctor={"checks": [{"id": "evictions", "status": "ok"}, {"id": "write", "status": "ok"}]},
    )
    new = written(
        tmp_path,
        "b",
        info={"memory": {"used_memory": 250}},
        doctor={"checks": [{"id": "write", "status": "ok"}, {"id": "evictions", "status": "crit"}]},
    )
    diff = compare(old, new)
    assert (diff.before, diff.after) == ("a", "b")
    assert diff.changes == (
        Change("doctor", "checks[evictions].status", "ok", "crit"),
        Change("info", "memory.used_memory", 100, 250),
    )
    assert diff.changes[1].growth == 150
    assert diff.changes[0].growth is None


def test_what_one_file_lacks_is_none(tmp_path: Path) -> None:
    diff = compare(written(tmp_path, "a"), written(tmp_path, "b", health={"status": "healthy"}))
    assert diff.changes == (Change("health", "status", None, "healthy"),)


def test_a_list_without_names_counts(tmp_path: Path) -> None:
    old = written(tmp_path, "a", slowLog={"entries": [{"durationMs": 1}]}, versions={"hints": ["x", "y"]})
    new = written(tmp_path, "b", slowLog={"entries": [{"durationMs": 2}, {}]}, versions={"hints": ["x", "z"]})
    assert set(compare(old, new).changes) == {
        Change("slowLog", "entries.length", 1, 2),
        Change("versions", "hints", "x, y", "x, z"),
    }


def test_what_differs_between_any_two_looks_is_left_out(tmp_path: Path) -> None:
    old = written(tmp_path, "a", health={"timestamp": "1", "redis": {"latencyMs": 1.0}})
    assert compare(old, written(tmp_path, "b", health={"timestamp": "2", "redis": {"latencyMs": 2.0}})).changes == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"kind": "x"}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_incident_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken").write_bytes(content)
    sound = written(tmp_path, "a")
    for pair in ((tmp_path / "broken", sound), (sound, tmp_path / "broken"), (sound, tmp_path / "not-there")):
        with pytest.raises(InvalidInput):
            compare(*pair)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incident_diff, "LARGEST_FILE", 10)
    with pytest.raises(InvalidInput, match="too large"):
        compare(written(tmp_path, "a"), written(tmp_path, "b"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_a_file_never_differs_from_itself(tmp_path_factory: pytest.TempPathFactory, part: Any) -> None:
    path = written(tmp_path_factory.mktemp("incident"), "a", health=part)
    assert compare(path, path).changes == ()

"""A file is there as a whole or not at all, and for its owner alone unless it is public."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from checkout_cli.files.atomic_file import atomic_file, write_atomically


def test_it_is_for_its_owner_alone_and_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    write_atomically(path, b"old")
    path.chmod(0o644)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_public_one_can_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file"
    write_atomically(path, b"text", public=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.parent.stat().st_mode & 0o700 == 0o700


@pytest.mark.parametrize("new", [False, True])
def test_a_block_that_raises_leaves_everything_as_it_was(tmp_path: Path, new: bool) -> None:
    path = tmp_path / "file"
    if not new:
        write_atomically(path, b"old")
    with pytest.raises(TypeError), atomic_file(path, new=new) as stream:
        stream.writelines([b"half", None])  # type: ignore[list-item]
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if new else [b"old"])


def test_a_new_file_is_not_written_over_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"theirs")
    with pytest.raises(FileExistsError), atomic_file(path, new=True) as stream:
        stream.write(b"ours")
    assert path.read_bytes() == b"theirs"
    with atomic_file(tmp_path / "other", new=True) as stream:
        stream.write(b"ours")
    assert (tmp_path / "other").read_bytes() == b"ours"

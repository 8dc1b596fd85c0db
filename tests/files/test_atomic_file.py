"""A file is there as a whole or not at all, and for its owner alone unless it is public."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from checkout_cli.files.atomic_file import NotOurs, atomic_file, make_private, open_own, write_atomically


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


def test_a_file_that_waits_at_a_name_that_can_be_guessed_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("as it was")
    names: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda half, to: names.append(half.name) or replace(half, to))
    for _ in range(2):
        write_atomically(path, b"ours")
    assert len(set(names)) == 2, "each half has a name of its own"
    (tmp_path / "guessed").symlink_to(victim)
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: iter(["guessed"] * 20_000))
    monkeypatch.setattr(tempfile, "TMP_MAX", 3)
    monkeypatch.setattr(tempfile, "mkstemp", partial(_guessable, tempfile.mkstemp))
    with pytest.raises(FileExistsError):
        write_atomically(path, b"ours")
    assert victim.read_text() == "as it was"


def _guessable(make: Callable[..., tuple[int, str]], *, prefix: str, dir: Path) -> tuple[int, str]:  # noqa: A002
    del prefix
    return make(prefix="", dir=dir)


def test_with_a_name_that_can_be_guessed_it_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("as it was")
    (tmp_path / "file.half").symlink_to(victim)

    def guessed(prefix: str, dir: Path) -> tuple[int, str]:  # noqa: A002  (as tempfile.mkstemp has it)
        name = str(dir / f"{prefix}half")
        return os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), name

    monkeypatch.setattr(tempfile, "mkstemp", guessed)
    write_atomically(path, b"ours")
    assert victim.read_text().startswith("ours")


def test_the_mode_is_changed_of_no_file_that_a_link_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.touch()
    victim.chmod(0o644)
    link.symlink_to(victim)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        make_private(link)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o644
    monkeypatch.setattr(os, "O_NOFOLLOW", 0)
    make_private(link)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600, "the guard is what kept it"


def test_a_link_in_the_place_of_a_file_of_ours_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("as it was")
    link.symlink_to(victim)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with pytest.raises(NotOurs):
        open_own(link, flags)
    monkeypatch.setattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(open_own(link, flags), "ab") as stream:
        stream.write(b"!")
    assert victim.read_text() == "as it was!", "the guard is what kept it"


@pytest.mark.parametrize("public", [False, True])
def test_the_mode_is_that_of_the_open_file_and_not_of_its_name(
    public: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "file", b"text", public=public)
        monkeypatch.delattr(os, "fchmod")
        write_atomically(tmp_path / "without", b"text", public=public)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == (0o644 if public else 0o600)
    assert stat.S_IMODE((tmp_path / "without").stat().st_mode) == 0o600

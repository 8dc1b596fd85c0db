"""What ``--help`` says: of the root, of every group and of every command of the tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.snapshots.support import TextFile, walk
from tests.support.in_process import run_here


@pytest.mark.parametrize("path", [pytest.param(path, id=" ".join(("checkoutctl", *path))) for path, _ in walk()])
def test_it_reads_as_it_did(path: tuple[str, ...], tmp_path: Path, snapshot: Any) -> None:
    done = run_here([*path, "--help"], {"COLUMNS": "80"}, tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out == snapshot(extension_class=TextFile)

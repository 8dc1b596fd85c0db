"""The place where the commands of the snapshots are run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.snapshots.frozen import Place, place


@pytest.fixture(scope="session")
def frozen_place() -> Iterator[Place]:
    """One server and one directory for all; each run finds its state as if it were the first."""
    with place() as made:
        yield made

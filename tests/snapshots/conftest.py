"""The place where the commands of the snapshots are run."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

import pytest

from tests.snapshots.frozen import Place, place


@pytest.fixture(scope="session")
def frozen_place() -> Iterator[Place]:
    """One server and one directory for all; each run finds its state as if it were the first."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("a server's clock is made to stand still where the wheel of libfaketime has its library")
    with place() as made:
        yield made

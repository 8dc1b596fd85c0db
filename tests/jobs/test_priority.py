"""Long jobs give way to the shop."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from checkout_cli.jobs import priority
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl

GIVES_WAY = "import os; from checkout_cli.jobs.priority import give_way; give_way(); give_way(); "
TELLS = "print(os.getpriority(os.PRIO_PROCESS, 0))"


def told(code: str) -> int:
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_it_goes_behind_and_never_to_the_front() -> None:
    if os.getpriority(os.PRIO_PROCESS, 0) >= priority.NICENESS:
        pytest.skip("the tests themselves run behind everything else")
    assert told(GIVES_WAY + TELLS) == priority.NICENESS
    assert told("import os; os.nice(19); " + GIVES_WAY.removeprefix("import os; ") + TELLS) == 19


def test_a_system_that_forbids_it_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    priority.give_way()
    monkeypatch.delattr(os, "setpriority")
    priority.give_way()


@pytest.mark.parametrize(
    "words",
    [
        "cleanup --expired",
        "memory families",
        "sessions export",
        "sessions index check",
        "sessions index repair --yes",
        "migrate plan",
        "migrate run",
        "migrate verify",
    ],
)
def test_what_looks_at_everything_gives_way(
    words: str, store: CheckoutStore, checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    gave = []
    monkeypatch.setattr(priority, "give_way", lambda: gave.append(words))
    assert checkoutctl.here(*words.split()).code in {0, 1}
    assert gave == [words]

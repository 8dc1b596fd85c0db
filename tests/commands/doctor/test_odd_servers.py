"""The checks of the way to Redis, its machine and its doors on every kind of server: an answer or a reason, in time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from checkout_cli.checks import Status
from checkout_cli.commands.doctor.run import all_checks, run_checks
from checkout_cli.files.last_look import LastLook
from tests.support.odd_servers import OddServer, each_odd_server

AWAY = {"hung", "loading"}


@pytest.mark.parametrize("odd", each_odd_server(), indirect=True)
def test_every_check_ends_with_an_answer_or_a_reason_in_time(odd: OddServer, tmp_path: Path) -> None:
    settings = odd.settings(timeout=0.5)
    began = time.monotonic()
    report = run_checks(
        lambda: settings,
        all_checks().chosen(["connection", "security", "host"], []),
        directory=tmp_path,
        environ={},
        last_look=LastLook(tmp_path / "state"),
    )
    assert time.monotonic() - began < 2.5  # one time-out, and what a busy machine adds
    critical = {result.check.id for result in report.results if result.status is Status.CRIT}
    untrusted = odd.name in {"no INFO", "denied INFO"}  # without an identity the store has no use for Redis
    assert critical == ({"connect"} if odd.name in AWAY else {"requirements"} if untrusted else set())
    assert all(result.finding.evidence for result in report.results)
    assert all(result.finding.fix for result in report.results if result.status in {Status.WARN, Status.CRIT})
    status = {result.check.id: result.status for result in report.results}
    if odd.name.startswith(("denied", "no INFO")):
        assert status["capability"] is Status.WARN

"""The specification's claims beside figures: when they hold, and what is said where they do not."""

from __future__ import annotations

import pytest

from checkout_cli.commands.bench.claims import Claim, faster_retrieval, less_load, more_users, uptime


@pytest.mark.parametrize(
    ("claim", "measured", "holds"),
    [
        (faster_retrieval(0.050, 0.005, 1.0), 10, True),
        (faster_retrieval(0.0499, 0.005, 1.0), 9.98, False),
        (more_users(100, 500, 0.2), 5, True),
        (more_users(100, 499, 0.2), 4.99, False),
        (less_load(2.0, 1.0), 0.5, True),
        (less_load(2.0, 1.01), 0.495, False),
        (less_load(1.0, 1.5), -0.5, False),
        (uptime(0.999, ""), 0.999, True),
        (uptime(0.9989, ""), 0.9989, False),
    ],
)
def test_a_claim_holds_from_its_bar_on(claim: Claim, measured: float, holds: bool) -> None:
    assert claim.measured == pytest.approx(measured)
    assert claim.holds is holds


@pytest.mark.parametrize(
    "claim",
    [faster_retrieval(0.05, None, None), more_users(100, None, 0), less_load(2.0, None), uptime(None, "no way to cut")],
)
def test_what_was_not_measured_neither_holds_nor_fails(claim: Claim) -> None:
    assert claim.measured is None
    assert claim.holds is None
    assert claim.why


def test_a_fast_database_is_named_as_the_reason() -> None:
    assert "the database answers in 0.20 ms" in faster_retrieval(0.0002, 0.0001, 1.0).why
    assert "500x" in faster_retrieval(0.0002, 0.0001, 1.0).why, "of the specification's 50 ms"
    assert faster_retrieval(0.05, 0.001, 1.0).why == ""


def test_reads_that_redis_did_not_serve_are_named_as_the_reason() -> None:
    assert "doctor" in faster_retrieval(0.0002, 0.0003, 0.1).why


def test_our_own_processes_are_named_where_they_were_the_limit() -> None:
    assert "90% busy" in more_users(100, 120, 0.9).why
    assert "busy" not in more_users(100, 120, 0.5).why
    assert more_users(100, 600, 0.9).why == ""

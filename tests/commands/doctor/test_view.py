from __future__ import annotations

import json

import pytest

from checkout_cli.checks import Check, Finding, Status, crit, ok, warn
from checkout_cli.commands.doctor.check import Group
from checkout_cli.commands.doctor.run import DoctorReport, Result, all_checks
from checkout_cli.commands.doctor.view import HEADINGS, show_report
from checkout_cli.terminal.checks import show_explanations


def result(name: str, group: Group, finding: Finding) -> Result:
    return Result(Check(name, group, (), lambda _: finding), finding)


REPORT = DoctorReport(
    1_763_900_000_000,
    "shop:6379",
    (
        result("fast", Group.SPEED, warn("slow \x1b]0;x\x07 [red]", "checkoutctl latency", medianMs=12)),
        result("fine", Group.SERVING, ok("all well")),
        result("first", Group.SERVING, Finding(Status.SKIPPED, "needs +info")),
        result("second", Group.SERVING, Finding(Status.SKIPPED, "needs +info")),
        result("full", Group.SERVING, crit("no room", "checkoutctl memory show")),
    ),
)


def test_what_hurts_first_stands_first_and_the_summary_last(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(REPORT, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "serving checkouts:",
        "  crit     full: no room",
        "           fix: checkoutctl memory show",
        "  ok       fine: all well",
    ]
    assert lines[4] == "  skipped  first, second: needs +info"
    assert lines[5] == "speed:"
    assert lines[-1] == "1 critical, 1 warning, 1 ok, 2 skipped"


def test_what_a_server_says_is_made_safe(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(REPORT, as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "slow \\x1b]0;x\\x07 [red]" in out


def test_the_json_has_every_check_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(REPORT, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["summary"] == {"crit": 1, "warn": 1, "ok": 1, "skipped": 2}
    assert [item["id"] for item in shown["checks"]] == ["full", "fine", "first", "second", "fast"]
    assert shown["checks"][-1]["numbers"] == {"medianMs": 12}
    assert shown["checks"][1]["fix"] is None


def test_a_run_that_cannot_be_compared_with_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    report = DoctorReport(0, "", (), unwritten="/state: no space left")
    show_report(report, as_json=True)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["checks"] == []
    assert "no space left" in shown.err


@pytest.mark.parametrize("name", all_checks())
def test_an_explanation_names_the_check_and_what_it_needs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check = all_checks()[name]
    show_explanations([check], HEADINGS, as_json=False)
    out = capsys.readouterr().out
    assert out.startswith(f"{name} (")
    assert check.title in out
    assert all(need in out for need in check.named_needs)


def test_the_order_is_that_of_the_harm_to_shoppers() -> None:
    results = tuple(
        result(name, Group(all_checks()[name].group), crit(name, f"checkoutctl {step}"))
        for name, step in {
            "cleanup-overdue": "cleanup --expired",
            "exposure": "acl",
            "memory-headroom": "memory tune --advise",
            "evictions": "memory show",
            "database-write": "config show",
            "redis-emptied": "migrate run",
        }.items()
    )
    report = DoctorReport(0, "", (result("hit-rate", Group.SPEED, warn("tuning", "checkoutctl latency")), *results))
    assert [one.check.group for one in report.in_order] == [
        *("sessions", "database", "memory", "memory", "jobs", "security", "speed"),
    ]
    assert report.next_step == "checkoutctl migrate run"
    others = DoctorReport(0, "", report.results[:-1])
    assert others.next_step == "checkoutctl config show"


def test_the_next_step_can_be_typed_and_is_no_call_of_the_doctor_where_there_is_another() -> None:
    prose, itself = crit("a", "look at its log"), crit("b", "checkoutctl doctor --only topology")
    found = (result("write", Group.SERVING, itself), result("loading", Group.SERVING, prose))
    assert DoctorReport(0, "", found).next_step == "checkoutctl doctor --only topology"
    better = (*found, result("hit-rate", Group.SPEED, warn("slow", "checkoutctl latency")))
    assert DoctorReport(0, "", better).next_step == "checkoutctl latency"
    assert DoctorReport(0, "", found[1:]).next_step == "checkoutctl doctor --explain loading"
    assert DoctorReport(0, "", (result("fine", Group.SPEED, ok("well")),)).next_step == ""

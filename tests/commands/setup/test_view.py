from __future__ import annotations

from pathlib import Path

import pytest

from checkout_cli.checks import crit, ok
from checkout_cli.commands.setup.setup import SetupReport
from checkout_cli.commands.setup.view import document, show_plan, show_report
from checkout_cli.files.env_file import EnvFilePlan

PLAN = EnvFilePlan(
    Path("/shop/.env.local"), None, b"REDIS_PASSWORD=canary\nREDIS_DB=0\n", ("REDIS_PASSWORD", "REDIS_DB")
)
REPORT = SetupReport(
    looked_only=False,
    changed=("database schema",),
    checks={"redis": crit("nothing listens", "sudo systemctl start redis"), "database": ok("fine \x1b[2J")},
    next_steps=("checkoutctl health    (what each tier says)",),
)


def test_a_failed_check_has_its_fix_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(REPORT)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    position = next(number for number, line in enumerate(lines) if "crit" in line)
    assert lines[position + 1].strip() == "→ sudo systemctl start redis"
    assert "checkoutctl health" in err
    assert "\x1b" not in out


def test_a_plan_is_shown_on_stderr_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(PLAN)
    out, err = capsys.readouterr()
    assert out == ""
    assert "+REDIS_DB=0" in err
    assert "canary" not in err


def test_the_document_says_the_same_as_the_table() -> None:
    answer = document(REPORT, PLAN)
    assert answer["status"] == "failed"
    assert answer["checks"][1]["fix"] is None
    assert answer["next"] == ["checkoutctl health"]
    assert "canary" not in str(answer)

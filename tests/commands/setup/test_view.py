from __future__ import annotations

import json
from pathlib import Path

import pytest

from checkout_cli.checks import crit, ok
from checkout_cli.commands.setup.setup import SetupReport
from checkout_cli.commands.setup.view import show_report
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
    show_report(REPORT, PLAN, as_json=False)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    position = next(number for number, line in enumerate(lines) if "crit" in line)
    assert lines[position + 1].strip() == "→ sudo systemctl start redis"
    assert "checkoutctl health" in err
    assert "\x1b" not in out


def test_the_document_says_the_same_as_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(REPORT, PLAN, as_json=True)
    shown = capsys.readouterr().out
    answer = json.loads(shown)
    assert answer["status"] == "failed"
    assert answer["checks"][1]["fix"] is None
    assert answer["next"] == ["sudo systemctl start redis", "checkoutctl health"]
    assert "+REDIS_DB=0" in answer["envFile"]["difference"]
    assert "canary" not in shown

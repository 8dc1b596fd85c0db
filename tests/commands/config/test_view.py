from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkout_cli.checks import Finding, Status
from checkout_cli.commands.config.check import ConfigReport
from checkout_cli.commands.config.view import show_report, show_settings
from checkout_cli.config.settings import VARIABLES
from checkout_cli.config.variables import Origin, Resolved

PASSWORD = Resolved(VARIABLES["redis_password"], "canary", Origin.ENVIRONMENT)
LIFE = Resolved(VARIABLES["session_ttl"], 1800.0, Origin.DEFAULT)
WRONG = Resolved(VARIABLES["redis_port"], 6379, Origin.ENV, "REDIS_PORT (from .env) is 'abc'")
WARNING = Finding(Status.WARN, "off", "set REDIS_TLS=true", subject="REDIS_TLS")


def test_secrets_are_masked_and_numbers_plain(capsys: pytest.CaptureFixture[str]) -> None:
    show_settings([PASSWORD, LIFE], {}, as_json=False)
    out, _ = capsys.readouterr()
    assert "canary" not in out
    assert " 1800 " in out


def test_an_empty_secret_is_shown_as_empty(capsys: pytest.CaptureFixture[str]) -> None:
    show_settings([replace(PASSWORD, value="")], {}, as_json=False)
    assert "*" not in capsys.readouterr().out


def test_an_invalid_value_is_not_passed_off_as_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    show_settings([WRONG], {}, as_json=False)
    out, err = capsys.readouterr()
    assert "(invalid)" in out
    assert "6379" not in out
    assert "'abc'" in err
    show_settings([WRONG], {}, as_json=True)
    assert json.loads(capsys.readouterr().out)["settings"][0]["value"] is None


def test_no_finding_is_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(ConfigReport(()), as_json=False)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "nothing is wrong\n")


def test_the_status_is_that_of_the_worst_finding(capsys: pytest.CaptureFixture[str]) -> None:
    error = replace(WARNING, status=Status.CRIT)
    for findings, status in (((), "ok"), ((WARNING,), "warn"), ((WARNING, error), "crit")):
        show_report(ConfigReport(findings), as_json=True)
        assert json.loads(capsys.readouterr().out)["status"] == status

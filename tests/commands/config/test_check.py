from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from checkout_cli.checks import Finding
from checkout_cli.commands.config.check import CHECKS, Given, check, database_url
from checkout_cli.config.addresses import is_loopback
from checkout_cli.config.settings import Settings, resolve
from checkout_cli.config.trusted_file import read_regular
from checkout_cli.errors import ExitCode
from checkout_cli.files import env_file


def findings_of(directory: Path, text: str | None = None, **environ: str) -> list[Finding]:
    if text is not None:
        path = directory / ".env.local"
        path.write_text(text)
        path.chmod(0o600)
    environ = {"DATABASE_URL": f"sqlite:///{directory}/checkout.db", **environ}
    return list(check(directory, environ=environ).findings)


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_nothing_is_wrong_with_the_defaults(tmp_path: Path) -> None:
    assert findings_of(tmp_path) == []


def test_nothing_is_wrong_after_a_set_up(tmp_path: Path) -> None:
    env_file.write(env_file.plan(tmp_path, environ={}))
    assert findings_of(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_PORT", "0"),
        ("REDIS_PORT", "70000"),
        ("REDIS_PORT", "abc"),
        ("REDIS_PORT", "6379.0"),
        ("REDIS_PORT", "٦٣٧٩"),
        ("REDIS_DB", "-1"),
        ("REDIS_HOST", "redis://cache/0"),
        ("REDIS_ENABLE_STATISTICS", "maybe"),
        ("REDIS_TLS", "2"),
        ("CHECKOUT_TIMEOUT", "nan"),
        ("CHECKOUT_TIMEOUT", "0"),
        ("CHECKOUT_SESSION_TTL", "half an hour"),
        ("DATABASE_URL", "mysql://db/shop"),
        ("DATABASE_URL", "checkout.db"),
    ],
)
def test_a_bad_value_is_named_with_its_origin(tmp_path: Path, name: str, value: str) -> None:
    finding = only(findings_of(tmp_path, **{name: value}))
    assert (finding.status, finding.subject) == ("crit", name)
    assert "environment" in finding.fix


def test_all_bad_values_are_named_at_once(tmp_path: Path) -> None:
    findings = findings_of(tmp_path, "REDIS_PORT=abc\nREDIS_DB=-1\n")
    assert [finding.subject for finding in findings] == ["REDIS_PORT", "REDIS_DB"]
    assert all(".env.local" in finding.fix for finding in findings)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("REDIS_PROT", "REDIS_PORT"),
        ("REDIS_PASSWRD", "REDIS_PASSWORD"),
        ("redis_host", "REDIS_HOST"),
        ("CHECKOUT_SESION_TTL", "CHECKOUT_SESSION_TTL"),
        ("REDIS_ENABLE_STATISTIC", "REDIS_ENABLE_STATISTICS"),
    ],
)
def test_a_name_that_looks_like_a_typing_mistake_is_a_warning(tmp_path: Path, wrong: str, right: str) -> None:
    finding = only(findings_of(tmp_path, f"{wrong}=1\n"))
    assert (finding.status, finding.subject, finding.fix) == ("warn", wrong, f"did you mean {right}?")


@pytest.mark.parametrize("name", ["REDIS_INSIGHT_HOME", "CHECKOUT_CURRENCY", "STRIPE_KEY", "REDIS"])
def test_a_name_of_another_program_is_no_finding(tmp_path: Path, name: str) -> None:
    assert findings_of(tmp_path, f"{name}=1\n") == []


@pytest.mark.parametrize(("name", "value"), [("REDIS_SENTINELS", "one:26379"), ("REDIS_DB", "1")])
def test_what_a_cluster_does_not_have_is_an_error(tmp_path: Path, name: str, value: str) -> None:
    errors = [
        found for found in findings_of(tmp_path, f"REDIS_MODE=cluster\n{name}={value}\n") if found.status == "crit"
    ]
    assert only(errors).subject == name


def test_a_schema_beside_sqlite_is_one_error(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, "CHECKOUT_DATABASE_SCHEMA=shop\n"))
    assert (finding.status, finding.subject) == ("crit", "CHECKOUT_DATABASE_SCHEMA")
    assert findings_of(tmp_path, DATABASE_URL="postgresql://localhost/shop") == []


def test_a_url_to_another_machine_without_tls_is_a_warning(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, "REDIS_URL=redis://:canary@cache/0\n"))
    assert (finding.subject, finding.status) == ("REDIS_URL", "warn")
    assert "rediss://" in finding.fix
    assert "canary" not in str(finding)
    assert findings_of(tmp_path, "REDIS_URL=rediss://:canary@cache/0\n") == []
    assert findings_of(tmp_path, "REDIS_URL=redis://:canary@[::1]/0\n") == []


def test_a_node_of_a_cluster_on_another_machine_without_tls_is_a_warning(tmp_path: Path) -> None:
    text = "REDIS_MODE=cluster\nREDIS_CLUSTER_NODES=127.0.0.1:7001,10.0.0.2:7002\n"
    finding = only(findings_of(tmp_path, text))
    assert finding.subject == "REDIS_TLS"
    assert "10.0.0.2" in finding.evidence
    assert findings_of(tmp_path, f"{text}REDIS_TLS=true\n") == []


def test_sentinels_without_tls_on_another_machine_are_a_warning_beside_a_redis_with_it(tmp_path: Path) -> None:
    text = "REDIS_TLS=true\nREDIS_SENTINELS=10.0.0.2:26379\n"
    assert findings_of(tmp_path, text) == []
    finding = only(findings_of(tmp_path, f"{text}REDIS_SENTINEL_TLS=false\n"))
    assert finding.subject == "REDIS_SENTINEL_TLS"


def test_a_url_with_a_password_is_a_secret_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    path.write_text("REDIS_URL=redis://:canary@localhost/0\n")
    path.chmod(0o644)
    finding = only(check(tmp_path, environ={}).findings)
    assert "holds REDIS_URL" in finding.evidence


@pytest.mark.parametrize("name", ["REDIS_TLS_CERT_FILE", "REDIS_TLS_KEY_FILE", "REDIS_TLS_SERVER_NAME"])
def test_what_only_tls_uses_is_a_warning_without_it(tmp_path: Path, name: str) -> None:
    finding = only(findings_of(tmp_path, f"{name}=cert.pem\n"))
    assert (finding.subject, finding.status) == (name, "warn")


def test_the_sentinels_password_file_is_looked_at_too(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, "REDIS_SENTINEL_PASSWORD_FILE=/no/such/file\n"))
    assert (finding.subject, finding.status) == ("REDIS_SENTINEL_PASSWORD_FILE", "crit")


def test_a_broken_line_is_named_by_its_number_and_logged_by_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        finding = only(findings_of(tmp_path, "REDIS_HOST=localhost\n\nthis is broken\n"))
    assert finding.subject == ".env.local line 3"
    assert caplog.records == []


def test_a_variable_that_is_set_twice_is_a_warning(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, "REDIS_PORT=1\n# more\nREDIS_PORT=2\n"))
    assert finding.status == "warn"
    assert "in lines 1 and 3" in finding.evidence


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
def test_a_file_that_others_can_read_is_a_warning_and_with_a_secret_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".env.local"
    severities = {}
    for text in ("REDIS_PORT=1\n", "REDIS_PASSWORD=canary\n", "DATABASE_URL=postgresql://u:canary@h/d\n"):
        path.write_text(text)
        path.chmod(0o644)
        finding = next(item for item in check(tmp_path, environ={}).findings if item.subject == ".env.local")
        assert finding.fix == f"chmod 600 {path}"
        assert "canary" not in str(finding)
        severities[text.partition("=")[0]] = str(finding.status)
    assert severities == {"REDIS_PORT": "warn", "REDIS_PASSWORD": "crit", "DATABASE_URL": "crit"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
def test_a_dotenv_without_secrets_may_be_read_by_all(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REDIS_PORT=1\n")
    (tmp_path / ".env").chmod(0o644)
    assert findings_of(tmp_path) == []


def test_a_file_that_cannot_be_read_is_the_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by its mode: these tests may run as root, who can read everything."""

    def denied(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
        if path.name == ".env.local":
            raise PermissionError(13, "Permission denied")
        return read_regular(path, limit)

    (tmp_path / ".env.local").write_text("REDIS_PORT=1\n")
    monkeypatch.setattr("checkout_cli.config.settings.read_regular", denied)
    finding = only(list(check(tmp_path, environ={}).findings))
    assert "Permission denied" in finding.evidence


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_directory_or_what_is_not_text_is_the_finding(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / ".env.local"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
        path.chmod(0o600)
    report = check(tmp_path, environ={})
    assert only(list(report.findings)).subject == ".env.local"
    assert report.exit_code == ExitCode.CONFIGURATION


def test_a_password_file_must_be_there_and_hold_one(tmp_path: Path) -> None:
    path = tmp_path / "password"
    missing = only(findings_of(tmp_path, REDIS_PASSWORD_FILE=str(path)))
    assert "No such file" in missing.evidence
    path.write_text("")
    path.chmod(0o600)
    assert "is empty" in only(findings_of(tmp_path, REDIS_PASSWORD_FILE=str(path))).evidence
    path.write_text("canary\n")
    assert findings_of(tmp_path, REDIS_PASSWORD_FILE=str(path)) == []
    both = only(findings_of(tmp_path, REDIS_PASSWORD_FILE=str(path), REDIS_PASSWORD="canary"))
    assert both.status == "warn"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("redis", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_plain_text_is_a_warning_only_to_another_machine(tmp_path: Path, host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    findings = findings_of(tmp_path, REDIS_HOST=host)
    assert [finding.subject for finding in findings] == ([] if loopback else ["REDIS_TLS"])
    assert findings_of(tmp_path, REDIS_HOST=host, REDIS_TLS="true") == []


def test_certificates_must_be_there_and_be_used(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.pem")
    assert only(findings_of(tmp_path, REDIS_TLS="true", REDIS_TLS_CA_FILE=path)).status == "crit"
    assert only(findings_of(tmp_path, REDIS_TLS_CA_FILE=path)).status == "warn"


def test_a_life_longer_than_the_maximum_age_is_an_error(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, CHECKOUT_SESSION_TTL="7200", CHECKOUT_SESSION_MAX_AGE="3600"))
    assert "CHECKOUT_SESSION_MAX_AGE" in finding.fix


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:///{directory}", "names a directory"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///{directory}/text", "not an SQLite database"),
        ("sqlite:///{directory}/text/checkout.db", "is not a directory"),
        ("postgresql://shop:canary@[::1/shop", "not a database URL"),
        ("postgresql://shop:canary@db:port/shop", "not a database URL"),
    ],
)
def test_a_database_that_cannot_be_is_one_line(tmp_path: Path, url: str, problem: str) -> None:
    (tmp_path / "text").write_text("a text")
    finding = only(findings_of(tmp_path, DATABASE_URL=url.format(directory=tmp_path)))
    assert problem in finding.evidence
    assert "canary" not in str(finding)
    assert finding.fix
    assert finding.fix != "checkoutctl config check"


@pytest.mark.parametrize("place", ["checkout.db", "new/checkout.db"])
def test_a_place_that_cannot_be_written_to_is_an_error(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    (tmp_path / "checkout.db").touch()
    problem = only(findings_of(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/{place}")).evidence
    assert "read-only" in problem or "cannot be written to" in problem


def test_a_missing_driver_is_an_error_with_its_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    finding = only(findings_of(tmp_path, DATABASE_URL="postgresql://shop@db/shop"))
    assert "driver" in finding.evidence
    assert finding.fix.startswith("pip install")


def test_a_postgresql_url_is_fine_and_nobody_is_asked(tmp_path: Path) -> None:
    assert findings_of(tmp_path, DATABASE_URL="postgresql://shop@192.0.2.1/shop") == []


def test_the_exit_code_is_that_of_the_worst(tmp_path: Path) -> None:
    def exit_code(**environ: str) -> int:
        return check(tmp_path, environ=environ).exit_code

    assert exit_code() == ExitCode.OK
    assert exit_code(REDIS_HOST="redis") == ExitCode.FINDING
    assert exit_code(REDIS_HOST="redis", REDIS_PORT="abc") == ExitCode.CONFIGURATION


def test_checking_changes_nothing(tmp_path: Path) -> None:
    findings_of(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert resolve(directory=tmp_path, environ={})


def test_a_place_that_may_not_be_looked_at_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    given = Given(tmp_path, None, {"DATABASE_URL": f"sqlite:///{tmp_path}/checkout.db"})
    assert given.resolved
    for method in ("exists", "is_dir"):
        monkeypatch.setattr(Path, method, denied)
    assert "Permission denied" in only(list(database_url(given))).evidence


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_explains_itself(name: str) -> None:
    assert len(CHECKS[name].explanation.splitlines()) > 2


@pytest.mark.parametrize(
    ("line", "said", "fix"),
    [
        ("REDIS_USERNAME=pa$word", "in place of $NAME", r"write \$ for a $"),
        ("REDIS_USERNAME=${NAME}", "in place of $NAME", "the value itself"),
        ("REDIS_USERNAME=`shop`", "backticks are quotes", "without quotes"),
        ("REDIS_USERNAME=a#b", "# begins a comment", "in single quotes"),
        (r"REDIS_USERNAME='it\'s'", "backslash within quotes", "in double quotes"),
        (r'REDIS_USERNAME="a\"b"', "backslash within quotes", "in single quotes"),
    ],
)
def test_a_value_that_the_shop_reads_differently_is_a_warning(tmp_path: Path, line: str, said: str, fix: str) -> None:
    finding = only(findings_of(tmp_path, f"# one\n{line}\n"))
    assert (finding.status, finding.subject) == ("warn", "REDIS_USERNAME")
    assert ".env.local line 2" in finding.evidence
    assert said in finding.evidence
    assert fix in finding.fix


def test_no_warning_of_a_reading_repeats_a_secret(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, "REDIS_PASSWORD=canary#canary\n"))
    assert "canary" not in finding.evidence + finding.fix


@pytest.mark.parametrize("line", [r"REDIS_USERNAME=pa\$word", "REDIS_USERNAME='a#b'", 'export REDIS_USERNAME="a b"'])
def test_a_value_that_both_read_alike_is_no_finding(tmp_path: Path, line: str) -> None:
    assert findings_of(tmp_path, f"{line}\n") == []


def test_a_file_of_another_program_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "shop.conf").write_text("REDIS_USERNAME=pa$word\n")
    (tmp_path / "shop.conf").chmod(0o600)
    assert findings_of(tmp_path, CHECKOUT_ENV_FILE=str(tmp_path / "shop.conf")) == []


def test_a_colon_in_place_of_the_equals_sign_is_named(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, "REDIS_HOST: cache\n"))
    assert "REDIS_HOST= in place of REDIS_HOST:" in finding.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG_FORMAT", "dev"), ("LOG_FORMAT", '"json"'), ("DEBUG", '"redis:*"'), ("LOG_FILE", "'app.log'")],
)
def test_another_programs_value_of_a_name_that_we_share_is_a_warning(tmp_path: Path, name: str, value: str) -> None:
    finding = only(findings_of(tmp_path, **{name: value}))
    assert (finding.status, finding.subject) == ("warn", name)
    assert "another program" in finding.evidence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "*"),
        ("DEBUG", "express:*"),
        ("DEBUG", "1"),
        ("LOG_LEVEL", "verbose"),
        ("PORT", "tcp://10.0.0.1"),
        ("HOST", "!"),
        ("TIMEOUT", "never"),
    ],
)
def test_what_other_programs_are_told_by_their_variables_is_nothing_to_us(
    tmp_path: Path, name: str, value: str
) -> None:
    assert findings_of(tmp_path, **{name: value}) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REDIS_HOST", '"cache"', "without the quotes"),
        ("REDIS_URL", "'redis://cache'", "without the quotes"),
        ("REDIS_PORT", '"6379"', "without the quotes"),
        ("REDIS_URL", "redis://cache\r", "carriage return"),
        ("REDIS_HOST", "cache\r", "carriage return"),
        ("REDIS_PASSWORD", "hush\r", "carriage return"),
        ("DATABASE_URL", '"sqlite:////tmp/x.db"', "without the quotes"),
    ],
)
def test_what_docker_leaves_around_a_value_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    finding = only([each for each in findings_of(tmp_path, **{name: value}) if each.status == "crit"])
    assert finding.subject == name
    assert said in finding.evidence
    assert "hush" not in finding.evidence


def test_quotes_around_a_secret_may_be_its_own(tmp_path: Path) -> None:
    finding = only(findings_of(tmp_path, REDIS_PASSWORD='"hush"'))
    assert (finding.status, finding.subject) == ("warn", "REDIS_PASSWORD")
    assert "hush" not in finding.evidence + finding.fix


def test_a_secret_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbfhush\r\n")
    path.chmod(0o600)
    assert Settings(redis_password_file=str(path)).password() == "hush"


def test_a_file_in_utf_16_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_bytes("REDIS_HOST=cache\n".encode("utf-16"))
    (tmp_path / ".env.local").chmod(0o600)
    assert "UTF-16" in only(findings_of(tmp_path)).evidence

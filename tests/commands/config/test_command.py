from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.command import Checkoutctl


def test_show_names_every_variable_its_value_and_its_origin(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("REDIS_DB=3\nREDIS_HOST=elsewhere\n")
    (tmp_path / ".env.local").chmod(0o600)
    (tmp_path / ".env").write_text("REDIS_DB=4\nCHECKOUT_TIMEOUT=1\n")
    done = checkoutctl("--redis-port", "7001", "config", "show", "--json")
    assert done.returncode == 0
    shown = {item["variable"]: (item["value"], item["origin"]) for item in json.loads(done.stdout)["settings"]}
    assert shown["REDIS_PORT"] == (7001, "flag")
    assert shown["REDIS_HOST"] == ("127.0.0.1", "environment")
    assert shown["REDIS_DB"] == (3, ".env.local")
    assert shown["CHECKOUT_TIMEOUT"] == (1.0, ".env")
    assert shown["CHECKOUT_SESSION_TTL"] == (1800.0, "default")


def test_show_masks_secrets_in_every_format(checkoutctl: Checkoutctl) -> None:
    env = {"REDIS_PASSWORD": "canary", "DATABASE_URL": "postgresql://shop:canary@db/shop"}
    for arguments in (("config", "show"), ("config", "show", "--json")):
        done = checkoutctl(*arguments, env=env)
        assert "canary" not in done.stdout + done.stderr
        assert "********" in done.stdout


def test_show_shows_the_rest_where_a_value_is_wrong(checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("config", "show", env={"REDIS_PORT": "abc"})
    assert done.returncode == 0
    assert "(invalid)" in done.stdout
    assert "REDIS_DB" in done.stdout
    assert "REDIS_PORT" in done.stderr


def test_check_is_silent_on_stdout_where_all_is_well(checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("config", "check")
    assert (done.returncode, done.stdout) == (0, "")


def test_check_exits_with_the_worst_finding(checkoutctl: Checkoutctl) -> None:
    assert checkoutctl("config", "check", env={"REDIS_HOST": "redis.shop.example"}).returncode == 1
    done = checkoutctl("config", "check", "--json", env={"REDIS_PORT": "70000", "REDIS_DB": "-1"})
    assert done.returncode == 78
    answer = json.loads(done.stdout)
    assert answer["status"] == "crit"
    assert [finding["setting"] for finding in answer["findings"]] == ["REDIS_PORT", "REDIS_DB"]


def test_check_asks_no_server(checkoutctl: Checkoutctl) -> None:
    """Nothing answers at this address, and a connection to it would take until its time-out."""
    env = {"REDIS_HOST": "192.0.2.1", "REDIS_TLS": "true", "DATABASE_URL": "postgresql://shop@192.0.2.1/shop"}
    assert checkoutctl("config", "check", env=env).returncode == 0


def test_a_flag_that_is_out_of_range_is_named(checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("--redis-port", "70000", "config", "check")
    assert done.returncode == 78
    assert "70000" in done.stdout
    assert "flag" in done.stdout


def test_an_escape_sequence_in_a_value_does_not_reach_the_terminal(checkoutctl: Checkoutctl) -> None:
    for arguments in (("config", "show"), ("config", "check"), ("config", "show", "--json")):
        done = checkoutctl(*arguments, env={"REDIS_USERNAME": "\x1b]0;owned\x07", "LOG_FORMAT": "\x1b[2J"})
        assert "\x1b" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    process = checkoutctl.start("config", "show")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=20)
    assert errors == ""
    assert isinstance(process, subprocess.Popen)


def test_environment_files_that_are_not_read_are_named(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / ".env.production").write_text("REDIS_HOST=redis.shop.example\nOTHER=1\n")
    (tmp_path / ".env.example").write_text("REDIS_HOST=x\n")
    done = checkoutctl("config", "show")
    assert done.returncode == 0
    assert "not read: .env.production, which sets REDIS_HOST\n" in done.stderr
    assert ".env.example" not in done.stderr
    told = json.loads(checkoutctl("config", "show", "--json").stdout)["unreadEnvFiles"]
    assert told == [{"file": str(tmp_path / ".env.production"), "sets": ["REDIS_HOST"]}]


def test_a_log_format_of_another_program_stops_no_command(checkoutctl: Checkoutctl) -> None:
    assert checkoutctl("ping", "--count", "1", env={"LOG_FORMAT": "dev"}).returncode == 0
    assert checkoutctl("config", "check", env={"LOG_FORMAT": "dev"}).returncode == 1
    assert "'dev'" in checkoutctl("config", "show", env={"LOG_FORMAT": "dev"}).stderr


def test_another_programs_log_is_neither_written_nor_rotated(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("GET / 200\n")
    done = checkoutctl("-v", "ping", "--count", "1", env={"LOG_FILE": "app.log"})
    assert done.returncode == 0
    assert "another program's log" in done.stderr
    assert (tmp_path / "app.log").read_text() == "GET / 200\n"
    for form in ("text", "json"):
        for _ in range(2):
            checkoutctl("-v", "ping", "--count", "1", env={"LOG_FILE": f"{form}.log", "LOG_FORMAT": form})
        assert (tmp_path / f"{form}.log").read_text().count("PING") == 2

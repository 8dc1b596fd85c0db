"""A server that answered is started again with its own data; its words are believed only where they are borne out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from checkout_cli.commands.ping.start_again import answered, way_back
from checkout_cli.files.answered import AGAIN_AFTER, Answered, AnswersFile
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.installation import Program
from checkout_cli.typed import is_typeable
from tests.support.doctoring import DEBIAN

INSTALLED = replace(DEBIAN, programs=(Program("redis-server", "/usr/bin/redis-server"),), service_manager=False)
NOON = 1_764_590_400_000
"""12:00 UTC."""


def server(**words: object) -> Answered:
    known = Answered(NOON, "run", "Valkey 9.0", "", "", 6390, 77, True)
    return msgspec.structs.replace(known, **words)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "its config.conf"
    file.write_text("port 6390\n")
    file.chmod(0o644)
    return file


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "valkey-server"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_its_own_program_and_configuration_start_it(config: Path, program: Path) -> None:
    way = way_back(server(executable=str(program), config_file=str(config)), INSTALLED)
    assert way == f"{program} '{config}' --daemonize yes"
    assert is_typeable(way)


def test_the_systems_own_service_is_started_without_a_word_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkout_cli.commands.ping.start_again._is_trusted", bool)
    with_services = replace(INSTALLED, service_manager=True, root=False)
    way = way_back(server(config_file="/etc/redis/redis.conf", executable="/usr/bin/redis-server"), with_services)
    assert way == "sudo systemctl enable --now redis-server"


@pytest.mark.parametrize("made", ["writable", "a directory of others", "not there", "relative", "unprintable"])
def test_a_configuration_that_others_could_have_written_is_not_run(made: str, config: Path, tmp_path: Path) -> None:
    told = str(config)
    if made == "writable":
        config.chmod(0o666)
    elif made == "a directory of others":
        tmp_path.chmod(0o777)
    elif made == "not there":
        config.unlink()
    else:
        told = {"relative": "redis.conf", "unprintable": f"{config}\n; reboot"}[made]
    way = way_back(server(config_file=told), INSTALLED)
    assert "conf" not in way.replace("redis.conf -o", "").replace("valkey.conf", "")
    assert way.startswith("find / ")


def test_a_program_that_is_no_server_is_not_run(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "reboot"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    way = way_back(server(executable=str(other), config_file=str(config)), INSTALLED)
    assert way == f"/usr/bin/redis-server '{config}' --daemonize yes"


def test_only_a_server_without_data_is_started_empty() -> None:
    assert way_back(server(), INSTALLED).startswith("find / ")
    assert way_back(server(had_data=False), INSTALLED) == "/usr/bin/redis-server --port 6390 --daemonize yes"
    assert way_back(server(), DEBIAN) == DEBIAN.install_command


def test_nothing_that_a_server_says_is_typed_as_another_user(config: Path, program: Path) -> None:
    for installation in (INSTALLED, replace(INSTALLED, root=False), replace(INSTALLED, service_manager=True)):
        for path in (str(config), "/etc/shadow", "$(reboot)", "-x"):
            assert "sudo" not in way_back(server(executable=str(program), config_file=path), installation)


def test_what_answered_is_told_with_its_time() -> None:
    assert server().in_words(NOON + 1000) == "it answered here at 12:00 UTC (Valkey 9.0, process 77, with data in it)"
    assert "at 2025-12-01 12:00 UTC" in server().in_words(NOON + 2 * 86_400_000)


def test_it_is_kept_by_address_and_not_written_every_time(tmp_path: Path) -> None:
    file = AnswersFile(tmp_path)
    file.note("a:1", server())
    file.note("a:1", server(at=NOON + AGAIN_AFTER - 1, process=78))
    assert file.last("a:1") == server()
    file.note("a:1", server(at=NOON + AGAIN_AFTER))
    file.note("b:1", server(run="other"))
    file.note("b:1", server(at=NOON + 1, run="again"))
    assert (file.last("a:1"), file.last("b:1")) == (server(at=NOON + AGAIN_AFTER), server(at=NOON + 1, run="again"))


def test_long_words_of_a_server_are_cut_and_one_without_an_identity_is_not_kept() -> None:
    told = Info.parse(b"# Server\r\nrun_id:r\r\nredis_version:" + b"9" * 5000 + b"\r\nexecutable:/x\r\n")
    kept = answered(told, NOON, had_data=False)
    assert kept is not None
    assert (len(kept.program), kept.executable, kept.had_data) == (len("Redis ") + 512, "/x", False)
    assert answered(Info.parse(b"# Server\r\nredis_version:7\r\n"), NOON, had_data=True) is None

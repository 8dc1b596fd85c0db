"""The log: off unless asked for, never a value, one safe line an operation."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.terminal import log
from checkout_cli.terminal.log import ROOT, STDOUT, Wanted, configure_logging
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer

OPERATION = {
    "command": "GETEX",
    "key": "checkout:session:1f0c2ab3…",
    "family": "sessions",
    "duration_ms": 0.1421,
    "outcome": "ok",
    "tier": "redis",
}


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    logger = logging.getLogger(ROOT)
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    for handler in logger.handlers:
        if handler not in before[0]:
            handler.close()
    logger.handlers, logger.level, logger.propagate = before


def logged(capsys: pytest.CaptureFixture[str], debug: str, log_format: str = "text") -> str:
    configure_logging(Settings(debug=debug, log_format=log_format))
    logging.getLogger("checkout_cli.redis").debug("GETEX", extra={"operation": OPERATION})
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("debug", "names", "others"),
    [
        ("redis:*", ["redis:session", "redis:server"], ["checkout:store", "redis"]),
        ("*", ["redis:session", "checkout:store"], []),
        ("redis:session,checkout:*", ["redis:session", "checkout:web"], ["redis:index"]),
        ("express:* redis:index", ["redis:index"], ["redis:session"]),
        ("*,-redis:*", ["checkout:store"], ["redis:session"]),
        ("redis:*,-redis:session", ["redis:index"], ["redis:session"]),
        ("redis:se*ion", ["redis:session"], ["redis:server"]),
        ("", [], ["redis:session"]),
        ("express:*", [], ["redis:session"]),
        ("myredis:*", [], ["redis:session"]),
        ("redis:s[e]ssion", [], ["redis:session"]),
        (",, -", [], ["redis:session"]),
    ],
)
def test_a_list_is_read_as_other_programs_read_it(debug: str, names: list[str], others: list[str]) -> None:
    wanted = Wanted(debug)
    assert all(name in wanted for name in names)
    assert not any(name in wanted for name in others)


@pytest.mark.parametrize("debug", ["redis:*", "*", "redis:session", "http redis:*"])
def test_an_operation_is_logged_where_its_name_is_asked_for(debug: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(capsys, debug).count("\n") == 1


@pytest.mark.parametrize("debug", ["", "express:*", "redis:*,-redis:*", "redis:index", "checkout:*"])
def test_anything_else_leaves_it_out(debug: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(capsys, debug) == ""


def test_a_text_line_has_name_command_key_duration_and_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    line = logged(capsys, "redis:*")
    assert line.endswith(" redis:session GETEX checkout:session:1f0c2ab3… 0.142 ms ok\n")


def test_json_lines_are_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(logged(capsys, "redis:*", "json"))
    assert document["command"] == "GETEX"
    assert document["durationMs"] == 0.1421
    assert document["tier"] == "redis"
    assert document["namespace"] == "redis:session"
    assert document["timestamp"].endswith("Z")


def test_all_lines_of_one_run_have_one_trace_and_those_of_another_another(
    store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    traces = []
    for _ in range(2):
        run = checkoutctl("health", env={"DEBUG": "*", "LOG_FORMAT": "json"})
        found = {json.loads(line)["traceId"] for line in run.stderr.splitlines()}
        assert len(found) == 1
        traces.append(found)
    assert traces[0] != traces[1]


def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(debug="redis:*"))
    assert logged(capsys, "redis:*").count("\n") == 1


def test_a_warning_is_told_whatever_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(debug="redis:index"))
    logging.getLogger("checkout_cli.store").warning("something is wrong")
    assert capsys.readouterr().err.endswith(" checkout:store warning: something is wrong\n")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_key_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(Settings(debug="redis:*", log_format=log_format))
    evil = OPERATION | {"key": "checkout:session:\x1b]0;x\x07\n\u202e"}
    logging.getLogger("checkout_cli.redis").debug("GETEX", extra={"operation": evil})
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()


def test_the_store_logs_no_value_and_no_whole_id(store: CheckoutStore, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(debug="redis:*"))
    created = store.create({"userEmail": "canary@example.com", "notes": "canary-note"}).session
    store.get(created.checkout_id)
    text = capsys.readouterr().err
    assert "GETEX" in text
    assert "canary" not in text
    assert created.checkout_id not in text
    assert created.checkout_id[:8] in text


# The file


def test_a_file_takes_the_place_of_stderr_and_is_its_owners_alone(
    store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    path = tmp_path / "checkoutctl.log"
    run = checkoutctl("health", env={"DEBUG": "redis:*", "LOG_FILE": str(path)})
    assert (run.returncode, run.stderr) == (0, "")
    assert " redis:server PING " in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    before = len(path.read_text())
    checkoutctl("health", env={"DEBUG": "redis:*", "LOG_FILE": str(path)})
    assert len(path.read_text()) > before, "it is added to"


def test_a_file_is_rotated_and_the_old_ones_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LARGEST_FILE", 2_000)
    path = tmp_path / "checkoutctl.log"
    configure_logging(Settings(debug="redis:*", log_file=str(path)))
    for _ in range(500):
        logging.getLogger("checkout_cli.redis").debug("GETEX", extra={"operation": OPERATION})
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + log.FILES_KEPT
    assert all(file.stat().st_size <= 2_000 and file.stat().st_mode & 0o777 == 0o600 for file in files)


@pytest.mark.parametrize("place", ["/no/such/directory/x.log"])
def test_a_file_that_cannot_be_written_is_told_once_and_the_command_does_its_job(
    place: str, store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    run = checkoutctl("health", env={"DEBUG": "*", "LOG_FILE": place})
    assert run.returncode == 0, run
    assert "status: healthy" in run.stdout
    assert run.stderr.count("warning: LOG_FILE") == 1, run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "device", "stranger"])
def test_a_log_goes_into_a_new_file_or_a_regular_one_of_ours(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    elif kind == "device":
        place = Path("/dev/null")
    elif os.geteuid():
        pytest.skip("only root can make a file of somebody else's")
    else:
        place.touch()
        os.chown(place, 1234, 1234)
    with pytest.raises(ConfigurationError, match="must be new") as caught:
        configure_logging(Settings(debug="*", log_file=str(place)))
    assert (caught.value.exit_code, caught.value.hint) == (78, f"ls -ld {place}")
    assert victim.read_text() == "as it was"


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/stdout", "/dev/fd/2", "/proc/self/fd/1", "/proc/self/fd/2"])
def test_our_own_streams_are_written_to_and_not_opened(
    name: str, store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    for target in ("file", "pipe"):  # what a container's log is, and what a shell redirects to
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            streams = {"stdout": out, "stderr": err} if target == "file" else {}
            process = checkoutctl.start("health", env={"DEBUG": "redis:*", "LOG_FILE": name}, **streams)
            said = process.communicate(timeout=30)
        if target == "file":
            said = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
        assert process.returncode == 0, said
        logged, other = said if name in STDOUT else said[::-1]
        assert " redis:server " in logged
        assert " redis:server " not in other


@pytest.mark.parametrize("name", ["/dev/tty", "/dev/null", "/dev/fd/77", "/dev//stderr", "/dev/full"])
def test_other_devices_and_spellings_are_refused(name: str) -> None:
    with suppress(ConfigurationError):  # where it can be opened at all
        configure_logging(Settings(debug="*", log_file=name))
        assert logging.getLogger("checkout_cli").handlers == []


@pytest.mark.parametrize("key", ["alice:bob@shop.example", "491705550199", "a@b.c", "one:two:three:canary"])
@pytest.mark.parametrize("prefix", ["checkout:session:", "user:session:", "basket:"])
def test_a_strangers_id_is_not_written_into_the_log(
    prefix: str, key: str, store: CheckoutStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="checkout_cli"):
        store.redis.ask(("GET", prefix + key))
    said = [record.operation["key"] for record in caplog.records if hasattr(record, "operation")]
    assert said[-1] == f"{prefix}…"


def test_a_canary_is_in_no_log_whatever_is_run(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey: ValkeyServer, tmp_path: Path
) -> None:
    personal = {"userEmail": "canary@shop.example", "contactInfo": {"name": "Canary Bird", "phone": "+491705550199"}}
    created = store.create(personal | {"userId": "user-00017-long"}).session.checkout_id
    path = tmp_path / "all.log"
    environment = {"DEBUG": "*", "LOG_FILE": str(path), "REDIS_PASSWORD": "s3cret-canary"}
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "logged", "on", ">s3cret-canary", "~*", "+@all")
    said = ""
    for words in (
        f"sessions show {created}",
        f"sessions trace {created}",
        f"sessions update {created} --set notes=canary-note",
        "sessions list",
        "sessions export",
        "users list",
        "health",
        "doctor",
        "cleanup --expired",
        "sync",
        f"sessions delete {created} --yes",
    ):
        for more in ({"REDIS_USERNAME": "logged"}, {"REDIS_USERNAME": "nobody"}, {"REDIS_PORT": "1"}):
            run = checkoutctl(*words.split(), env=environment | more)
            said += run.stdout + run.stderr
    text = path.read_text()
    assert " redis:session " in text
    for secret in ("s3cret-canary", "canary@", "Canary", "5550199", "canary-note"):
        assert secret not in text
        assert secret not in said
    assert created not in text


@pytest.mark.parametrize("guard", ["is_accepted_id", "is_personal"])
def test_either_guard_alone_keeps_a_strangers_id_out_and_without_both_it_is_in(
    guard: str, store: CheckoutStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "checkout_cli.store.redis.server"
    answers = {"is_accepted_id": True, "is_personal": False}

    def said() -> str:
        with caplog.at_level(logging.DEBUG, logger="checkout_cli"):
            store.redis.ask(("GET", "checkout:session:alice@shop.example:1"))
        return str(next(r.operation["key"] for r in reversed(caplog.records) if hasattr(r, "operation")))

    monkeypatch.setattr(f"{place}.{guard}", lambda _: answers[guard])
    assert said() == "checkout:session:…"
    for name, answer in answers.items():
        monkeypatch.setattr(f"{place}.{name}", lambda _, answer=answer: answer)
    assert said() == "checkout:session:alice@sh…"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_note_of_the_library_repeats_no_address_of_a_servers_message(
    log_format: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging(Settings(debug="*", log_format=log_format))
    logger = logging.getLogger("checkout_cli.store")
    logger.warning("Key (checkout_id)=(%s) exists", "jane@example.org")
    assert "jane" not in capsys.readouterr().err
    monkeypatch.setattr(log, "without_personal", str)
    logger.warning("Key (checkout_id)=(%s) exists", "jane@example.org")
    assert "jane" in capsys.readouterr().err


def test_without_the_guard_a_log_would_be_written_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, victim = tmp_path / "place", tmp_path / "victim"
    victim.write_text("as it was\n")
    place.symlink_to(victim)
    monkeypatch.setattr(log, "open_own", lambda name, flags: os.open(name, flags, 0o600))
    configure_logging(Settings(debug="*", log_file=str(place)))
    logging.getLogger("checkout_cli.store").warning("something is wrong")
    assert "something is wrong" in victim.read_text()

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shlex
import sys
import typing
from pathlib import Path

import pytest

from checkout_cli.arguments.context import audit
from checkout_cli.clock import Clock
from checkout_cli.commands.sessions import command as commands
from checkout_cli.commands.sessions.sessions import MOST_LOOKED_AT, Order, Selection
from checkout_cli.keys import INDEX, session_key
from checkout_cli.session import PaymentStatus, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.divergence import set_columns
from tests.support.servers import ValkeyServer

ID = "4645c59d-c428-4017-af90-a43ee2787c34"
PERSONAL = {
    "userId": "user-0042",
    "userEmail": "ada@example.com",
    "contactInfo": {"name": "Ada Lovelace", "phone": "+1 555 0100"},
    "addressText": "1 Mill Lane",
    "notes": "Ring twice",
}
SECRETS = ("user-0042", "ada@example.com", "Ada Lovelace", "+1 555 0100", "Mill Lane", "Ring twice")
NO_REDIS = {"REDIS_PORT": "1"}


@pytest.fixture
def session(store: CheckoutStore) -> str:
    """A session with everything that must stay private."""
    items = [{"product_id": "rye-loaf", "quantity": 2, "unit_price": 5.4, "total_price": 10.8}]
    store.create({"items": items, "totalAmount": 10.8, **PERSONAL}, checkout_id=ID)
    return ID


def test_the_choices_of_the_commands_are_those_of_the_operation() -> None:
    assert typing.get_args(commands.Sort) == tuple(Order)
    assert typing.get_args(commands.Tier) == tuple(TierName)
    assert typing.get_args(commands.Status)[:-1] == tuple(PaymentStatus)
    for status in typing.get_args(commands.Status):
        Selection(status=status)
    assert f"{MOST_LOOKED_AT:,}" in (commands.list_.__annotations__["sort"])  # the help names the bound


def test_a_list_in_every_format_is_masked_and_on_stdout(session: str, checkoutctl: Checkoutctl) -> None:
    for output in ("table", "json", "ndjson", "csv", "ids"):
        done = checkoutctl("sessions", "list", "--output", output)
        assert (done.returncode, done.stderr) == (0, "")
        assert ID in done.stdout
        assert not any(secret in done.stdout for secret in SECRETS)


def test_json_csv_and_ndjson_can_be_parsed(session: str, checkoutctl: Checkoutctl) -> None:
    (row,) = json.loads(checkoutctl("sessions", "list", "--json").stdout)["sessions"]
    assert (row["checkoutId"], row["items"], row["total"], row["tier"]) == (ID, 1, 10.8, "redis")
    (line,) = checkoutctl("sessions", "list", "-o", "ndjson").stdout.splitlines()
    assert json.loads(line)["schemaVersion"] == 1
    (cells,) = csv.DictReader(io.StringIO(checkoutctl("sessions", "list", "-o", "csv").stdout))
    assert (cells["checkoutId"], cells["userId"]) == (ID, "user…")


def test_filters_come_from_the_command_line(session: str, checkoutctl: Checkoutctl) -> None:
    def ids(*options: str) -> list[str]:
        return checkoutctl("sessions", "list", "-o", "ids", *options).stdout.split()

    assert ids("--status", "pending", "--user", "user-0042", "--expiring-within", "1h", "--tier", "database") == [ID]
    assert ids("--status", "paid") == []
    assert ids("--older-than", "2h") == []
    assert ids("--sort", "total", "--limit", "1") == [ID]


def test_an_empty_list_is_no_error_and_says_so_on_stderr(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "list", "--json")

    assert (done.returncode, done.stderr) == (0, "no sessions\n")
    assert json.loads(done.stdout)["sessions"] == []


@pytest.mark.parametrize(
    "options",
    [
        ("--user", ""),
        ("--older-than", "5"),
        ("--expiring-within", "soon"),
        ("--status", "PAID"),
        ("--tier", "disk"),
        ("--sort", "random"),
        ("--limit", "0"),
        ("--output", "xml"),
        ("--json", "--output", "csv"),
    ],
)
def test_wrong_options_are_a_usage_error(options: tuple[str, ...], checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "list", *options)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_without_redis_the_list_comes_from_the_database_and_says_so(session: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "list", "--json", env=NO_REDIS)

    assert done.returncode == 0
    assert [row["tier"] for row in json.loads(done.stdout)["sessions"]] == ["database"]
    assert done.stderr.startswith("warning: Redis is away (")
    assert done.stderr.endswith("listing from the database\n")


def test_a_hung_redis_costs_a_list_one_time_out(
    session: str, store: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: typing.Callable[..., ValkeyServer]
) -> None:
    hung = valkey_server()
    hung.pause()
    try:
        done = checkoutctl("sessions", "list", "-o", "ids", "--timeout", "0.3", env={"REDIS_PORT": str(hung.port)})
    finally:
        hung.resume()

    assert (done.returncode, done.stdout) == (0, f"{ID}\n")
    assert "did not answer in time" in done.stderr


def test_a_wrong_password_is_an_error_of_its_own_and_no_outage(
    checkoutctl: Checkoutctl, valkey_server: typing.Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--requirepass", "right")
    done = checkoutctl("sessions", "list", env={"REDIS_PORT": str(server.port), "REDIS_PASSWORD": "canary-word"})

    assert (done.returncode, done.stdout) == (4, "")
    assert "canary-word" not in done.stderr


def test_a_reader_that_goes_away_ends_the_list_quietly(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    for number in range(200):
        store.create({}, checkout_id=f"session-{number:04d}")

    process = checkoutctl.start("sessions", "list", "-o", "ndjson", "--limit", "200")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "Broken" not in errors


def test_what_is_no_session_is_a_row_and_never_a_crash(
    store: CheckoutStore, valkey: ValkeyServer, checkoutctl: Checkoutctl
) -> None:
    with valkey.client() as client:
        client.set(session_key("half-a-session"), '{"items": [', ex=900)
        client.rpush(session_key("list-of-things"), "a")
        client.set(session_key("odd\x1b[31m:*\nid"), '{"paymentStatus": "paid"}', ex=900)
        moment = Clock().wall() + 900_000
        client.zadd(INDEX, dict.fromkeys(("half-a-session", "list-of-things", "odd\x1b[31m:*\nid"), moment))
        before = client.pttl(session_key("half-a-session"))

    done = checkoutctl("sessions", "list")
    shown = checkoutctl("sessions", "show", "half-a-session")
    odd = checkoutctl("sessions", "show", "odd\x1b[31m:*\nid")

    assert done.returncode == 0
    assert "corrupt" in done.stdout
    assert "wrong type" in done.stdout
    assert r"odd\x1b[31m:*\nid" in done.stdout
    assert "external" in done.stdout
    assert shown.returncode == 1
    assert "not a JSON object: 11 bytes" in shown.stdout
    assert odd.returncode == 0
    assert "\x1b" not in done.stdout + odd.stdout
    with valkey.client() as client:
        assert client.pttl(session_key("half-a-session")) <= before


def test_a_session_is_shown_by_the_beginning_of_its_id_and_masked(session: str, checkoutctl: Checkoutctl) -> None:
    for options in ((), ("--json",)):
        done = checkoutctl("sessions", "show", ID[:6], *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert ID in done.stdout
        assert not any(secret in done.stdout for secret in SECRETS)


def test_looking_does_not_extend_the_life_of_a_session(
    session: str, valkey: ValkeyServer, checkoutctl: Checkoutctl
) -> None:
    with valkey.client() as client:
        client.pexpire(session_key(ID), 60_000)
        checkoutctl("sessions", "list")
        checkoutctl("sessions", "list", "--sort", "expires")
        checkoutctl("sessions", "show", ID)
        checkoutctl("sessions", "delete", ID, "--dry-run")
        assert 0 < typing.cast("int", client.pttl(session_key(ID))) <= 60_000
        checkoutctl("sessions", "update", ID, "--set", "notes=x")  # the control: a write does
        assert typing.cast("int", client.pttl(session_key(ID))) > 60_000


def test_reveal_shows_personal_data_and_says_that_it_does(session: str, checkoutctl: Checkoutctl) -> None:
    shown = checkoutctl("sessions", "show", ID, "--reveal")
    listed = checkoutctl("sessions", "list", "--reveal", "--json")

    assert all(secret in shown.stdout for secret in SECRETS)
    assert shown.stderr == "revealing personal data of session 4645c59d…\n"
    assert json.loads(listed.stdout)["sessions"][0]["userId"] == "user-0042"
    assert listed.stderr == "revealing personal data of up to 50 sessions\n"


def test_the_audit_log_names_who_revealed_what_by_which_command(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "checkout_cli.audit"):
        audit("sessions show", "session 4645c59d…")

    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().endswith("reveals personal data of session 4645c59d… by sessions show")


def test_an_expired_session_is_shown_as_such_as_long_as_its_row_is_kept(
    session: str, store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    store.notes.write_down()
    store.redis.ask(("DEL", session_key(ID)))
    set_columns(store, ID, expires_at=store.clock.wall() - 600_000)
    shown = checkoutctl.here("sessions", "show", ID[:6])
    assert shown.code == 3
    assert "EXPIRED" in shown.out
    assert "10m ago" in shown.out
    assert f"checkoutctl sessions why {ID}" in shown.err
    assert "Ada" not in shown.out
    (document,) = checkoutctl.here("sessions", "show", ID, "--json").documents
    assert (document["expired"], document["checkoutId"]) == (True, ID)
    for command in (("update", ID[:6], "--set", "notes=x"), ("extend", ID[:6], "--by", "5m"), ("delete", ID[:6])):
        refused = checkoutctl.here("sessions", *command)
        assert (refused.code, f"session {ID} has expired" in refused.err) == (3, True)


def test_every_command_takes_the_beginning_of_an_id_that_no_other_shares(
    session: str, store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    begins = ID[:6]
    assert checkoutctl.here("sessions", "update", begins, "--set", "notes=x").out == f"{ID}\n"
    assert checkoutctl.here("sessions", "extend", begins, "--by", "5m").out.startswith(ID)
    for command in ("show", "trace", "why"):
        assert ID in checkoutctl.here("sessions", command, begins).out
    store.create({}, checkout_id=f"{begins}-another")
    for command in (
        ("update", begins, "--set", "notes=x"),
        ("extend", begins, "--by", "5m"),
        ("delete", begins, "--yes"),
        *((name, begins) for name in ("show", "trace", "why")),
    ):
        refused = checkoutctl.here("sessions", *command)
        assert refused.code == 2
        assert f"2 sessions begin with '{begins}': {begins}-another, {ID}" in refused.err
    store.delete(f"{begins}-another")
    assert checkoutctl.here("sessions", "delete", begins, "--yes").out == f"deleted {ID}\n"
    (answer,) = checkoutctl.here("sessions", "why", ID[:12], "--json").documents
    assert (answer["cause"], answer["status"], answer["basketValue"]) == ("deleted", "pending", 10.8)
    assert answer["next"] == f"checkoutctl sessions restore {answer['undoFile']}"
    assert checkoutctl.here(*shlex.split(answer["next"])[1:]).out == f"restored {ID}\n"


@pytest.mark.parametrize(
    ("checkout_id", "code"),
    [("unknown-id", 3), ("abc", 2), ("", 2), ("sess*", 3), ("a:b:c:d", 3), ("line\nbreak", 3), ("\x1b]0;x\x07", 3)],
)
def test_an_id_that_nobody_has_is_one_clear_line(
    session: str, checkout_id: str, code: int, checkoutctl: Checkoutctl
) -> None:
    done = checkoutctl("sessions", "show", checkout_id)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") in {2, 3}
    assert "\x1b" not in done.stderr


def test_an_ambiguous_beginning_names_the_candidates(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.create({}, checkout_id="same-start-1")
    store.create({}, checkout_id="same-start-2")

    done = checkoutctl("sessions", "show", "same")

    assert done.returncode == 2
    assert "same-start-1, same-start-2" in done.stderr


def test_create_prints_the_id_and_update_works_on_it(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    created = checkoutctl(
        "sessions", "create", "--file", "-", input='{"totalAmount": 1.5, "contactInfo": {"phone": "1"}}'
    )
    checkout_id = created.stdout.strip()
    updated = checkoutctl(
        "sessions", "update", checkout_id, "--set", "contactInfo.name=Ada", "--set", "paymentStatus=paid", "--json"
    )

    assert (created.returncode, updated.returncode) == (0, 0)
    assert json.loads(updated.stdout) == {
        "schemaVersion": 1,
        "checkoutId": checkout_id,
        "version": 2,
        "tier": "redis",
        "durability": "database",
        "published": True,
        "degraded": False,
    }
    assert store.get(checkout_id).fields["contactInfo"] == {"phone": "1", "name": "Ada"}
    refused = checkoutctl("sessions", "update", checkout_id, "--set", "paymentStatus=pending")
    assert (refused.returncode, refused.stdout) == (1, "")


@pytest.mark.parametrize(
    "document",
    ["", "nope", "[1]", "null", '{"a": 1, "a": 2}', "[" * 100_000, '{"a":' * 50 + "1" + "}" * 50, "x" * 1024 * 1024],
    ids=["empty", "text", "array", "null", "twice", "brackets", "deep", "huge"],
)
def test_a_document_that_is_no_session_is_one_clear_line(
    document: str, store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    done = checkoutctl("sessions", "create", "--file", "-", input=document)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") in {2, 3}
    assert store.admin.count().number == 0


@pytest.mark.parametrize("checkout_id", ["a*b*c*d*e", "a:b:c:d:e", "line\nbreak", "\x1b[31mred-id", "short", "x" * 129])
def test_an_id_that_we_would_not_write_is_refused(
    checkout_id: str, store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    created = checkoutctl("sessions", "create", "--file", "-", "--id", checkout_id, input="{}")
    updated = checkoutctl("sessions", "update", checkout_id, "--set", "notes=x")

    for done in (created, updated):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: not a checkout id")
        assert done.stderr.count("\n") in {2, 3}


def test_a_file_that_is_not_there_or_a_directory_is_a_usage_error(
    store: CheckoutStore, tmp_path: Path, checkoutctl: Checkoutctl
) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        done = checkoutctl("sessions", "create", "--file", str(path))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: cannot read")


def test_a_write_without_redis_says_that_it_is_degraded(session: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "update", ID, "--set", "notes=x", "--json", env=NO_REDIS)

    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert (document["durability"], document["published"], document["tier"]) == ("database", False, "database")
    assert document["degraded"]
    assert "Redis does not" in done.stderr


def test_a_write_that_only_memory_would_take_is_refused_with_75(checkoutctl: Checkoutctl) -> None:
    nothing = {**NO_REDIS, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    for arguments in (("create", "--file", "-"), ("update", ID, "--set", "notes=x")):
        done = checkoutctl("sessions", *arguments, env=nothing, input="{}")
        assert (done.returncode, done.stdout) == (75, "")
        assert done.stderr.startswith("error: ")


def test_a_database_that_nobody_has_set_up_is_reported_and_not_survived(
    checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    nothing = {"DATABASE_URL": f"sqlite:///{tmp_path / 'none' / 'none.db'}"}
    for redis in ({}, NO_REDIS):
        for arguments in (("create", "--file", "-"), ("update", ID, "--set", "notes=x")):
            done = checkoutctl("sessions", *arguments, env=nothing | redis, input="{}")
            assert (done.returncode, done.stdout) == (69, "")
            assert "checkoutctl setup" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_on_a_terminal_a_deletion_asks_and_creating_says_what_it_reads(
    session: str, store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    import pexpect

    def start(*arguments: str) -> pexpect.spawn:
        command = checkoutctl.command("sessions", *arguments)
        environment = checkoutctl.environment | {"TERM": "dumb", "COLUMNS": "200"}
        return pexpect.spawn(
            command[0], command[1:], env=environment, cwd=str(tmp_path), timeout=15, dimensions=(24, 200)
        )

    refusing = start("delete", ID)
    refusing.expect_exact("Delete it for good? [y/N] ")
    refusing.sendline("n")
    refusing.expect_exact("nothing was changed")
    refusing.expect(pexpect.EOF)
    refusing.close()
    assert refusing.exitstatus == 1
    assert store.admin.inspect(ID).session is not None

    agreeing = start("delete", ID)
    agreeing.expect_exact("[y/N] ")
    agreeing.sendline("y")
    agreeing.expect_exact(f"deleted {ID}")
    agreeing.expect(pexpect.EOF)
    agreeing.close()
    assert agreeing.exitstatus == 0

    creating = start("create", "--file", "-")
    creating.expect_exact("reading the session's JSON from the terminal")
    creating.sendline("{}")
    creating.sendeof()
    creating.expect_exact("created: version 1")
    creating.expect(pexpect.EOF)
    creating.close()
    assert creating.exitstatus == 0


def test_help_is_plain_and_has_an_example(checkoutctl: Checkoutctl) -> None:
    for command in ("list", "show", "trace", "why", "create", "update", "delete", "restore", "extend"):
        done = checkoutctl("sessions", command, "--help")
        assert done.returncode == 0
        assert f"checkoutctl sessions {command} " in " ".join(done.stdout.split()).partition("Example: ")[2]


def test_help_needs_neither_redis_nor_a_database_library() -> None:
    import subprocess

    program = (
        "import sys; import checkout_cli.commands.sessions.command; "
        "print([name for name in ('redis', 'sqlalchemy', 'msgspec', 'rich.table') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)

    assert done.stdout == "[]\n"

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.keys import PENDING, session_key, user_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.every_server import run
from tests.support.in_process import Outcome
from tests.support.odd_servers import OddServer, each_odd_server
from tests.support.servers import ValkeyServer

SECRET_ID = "4645c59d-c428-4017-af90-a43ee2787c34"


@pytest.fixture
def filled(store: CheckoutStore) -> CheckoutStore:
    """Two open checkouts, one that is paid, and what other programs left."""
    store.create({"totalAmount": 10.5}, checkout_id=SECRET_ID)
    store.create({"totalAmount": 20}, checkout_id="second-session")
    paid = store.create({"totalAmount": 1000}, checkout_id="third-session")
    store.set_payment_status(paid.session.checkout_id, "paid", order_id="O-1")
    store.redis.ask(("SET", "cart:ada@example.com", "x" * 5000))
    store.redis.ask(("SADD", PENDING, "one"))
    return store


@pytest.mark.parametrize("odd", each_odd_server(), indirect=True)
def test_what_every_server_tells_of_its_memory(odd: OddServer, tmp_path: Path) -> None:
    if odd.name == "hung":
        return  # that it says so, in one line and in time, is tested with all commands
    (server,) = documents(run(odd, ("memory", "show", "--json"), tmp_path))["servers"]
    assert server["usedBytes"] > 500_000
    minutes = server["minutesUntilFull"]
    assert minutes is None or minutes >= 0
    for options in ((), ("--sample", "1000")):
        done = run(odd, ("memory", "families", *options, "--json"), tmp_path)
        if odd.name == "loading":
            assert done.code == 69
            continue
        shown = documents(done)
        sessions = shown["families"]["sessions"]
        assert sessions["keysWithoutTtl"] == 0
        assert sessions["keys"] == 20 or odd.name == "full, allkeys-lru"
        limited = odd.name in {"no MEMORY", "denied MEMORY"}
        assert shown["sizes"] == ("strlen" if limited else "memoryUsage")
        assert sessions["bytes"] > 0
        assert bool(shown["notes"]) is limited


def documents(done: Outcome) -> dict[str, Any]:
    assert done.code == 0, done.err
    (shown,) = done.documents
    return dict(shown)


def test_families_are_counted_with_their_bytes_and_lifetimes(filled: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("memory", "families", "--json")
    shown = json.loads(done.stdout)
    families = shown["families"]
    assert (done.returncode, done.stderr) == (0, "")
    assert (shown["partial"], shown["nextCursor"], shown["sample"]) == (False, None, False)
    assert families["sessions"]["keys"] == 3
    assert families["sessions"]["keysWithoutTtl"] == 0
    assert families["sessions"]["ttl"]["under1800Seconds"] == 3
    assert families["index"]["keysWithoutTtl"] == 1
    assert families["ours"]["keys"] == 1
    assert families["other"]["bytes"] == filled.redis.ask(("MEMORY", "USAGE", "cart:ada@example.com"))
    sizes = [filled.redis.ask(("MEMORY", "USAGE", session_key(name))) for name in (SECRET_ID, "second-session")]
    third = filled.redis.ask(("MEMORY", "USAGE", session_key("third-session")))
    assert families["sessions"]["bytes"] == sum(sizes) + third
    assert shown["biggest"][0]["bytes"] == families["other"]["bytes"]


def test_keys_are_shortened_unless_revealed_in_every_format(filled: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    filled.redis.ask(("HSET", user_key("ada@example.com"), "a", "b"))
    for options in ([], ["--json"]):
        hidden = checkoutctl("memory", "families", "--biggest", "20", *options)
        assert SECRET_ID[:8] in hidden.stdout
        assert SECRET_ID not in hidden.stdout
        assert "ada" not in hidden.stdout
        revealed = checkoutctl("memory", "families", "--biggest", "20", "--reveal", *options)
        assert SECRET_ID in revealed.stdout
        assert "revealing personal data of" in revealed.stderr


def test_a_time_limit_ends_with_what_was_counted_and_the_cursor_of_the_rest(
    store: CheckoutStore, valkey: ValkeyServer, checkoutctl: Checkoutctl
) -> None:
    with valkey.client(socket_timeout=10) as client:
        client.eval("for n = 1, 30000 do redis.call('SET', 'other:' .. n, 'x') end", 0)
    first = checkoutctl("memory", "families", "--json", "--max-seconds", "0.02")
    one = json.loads(first.stdout)
    assert first.returncode == 0
    assert (one["partial"], one["stopped"]) == (True, "timeIsUp")
    assert f"--cursor {one['nextCursor']}" in first.stderr
    rest = checkoutctl("memory", "families", "--json", "--cursor", one["nextCursor"])
    two = json.loads(rest.stdout)
    assert (two["partial"], two["resumed"], two["nextCursor"]) == (True, True, None)
    assert one["families"]["other"]["keys"] + two["families"]["other"]["keys"] == 30_000
    assert "the rest alone" in rest.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_shows_what_was_counted_and_exits_130(
    store: CheckoutStore, valkey: ValkeyServer, checkoutctl: Checkoutctl, number: signal.Signals
) -> None:
    with valkey.client(socket_timeout=10) as client:
        client.eval("for n = 1, 30000 do redis.call('SET', 'other:' .. n, 'x') end", 0)
        before = client.info("commandstats")["cmdstat_scan"]["calls"] if "cmdstat_scan" in client.info("all") else 0
        process = checkoutctl.start("memory", "families", "--json", "--max-load", "0.1")
        end = time.monotonic() + 15
        while client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"] < before + 2:
            assert time.monotonic() < end
    process.send_signal(number)
    output, errors = process.communicate(timeout=10)
    shown = json.loads(output)
    assert process.returncode == 130
    assert (shown["stopped"], shown["partial"]) == ("interrupted", True)
    assert "interrupted: this is a part" in errors


@pytest.mark.parametrize(
    "options",
    [
        ["--max-load", "0"],
        ["--max-load", "101"],
        ["--max-load", "nan"],
        ["--max-seconds", "0"],
        ["--max-seconds", "nan"],
        ["--cursor", "x"],
        ["--cursor", "-1"],
        ["--cursor", "18446744073709551616"],
        ["--cursor", "9-0"],
        ["--sample", "0"],
        ["--sample", "2000", "--max-load", "10"],
        ["--sample", "2000", "--cursor", "5"],
        ["--biggest", "-1"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_a_usage_error(checkoutctl: Checkoutctl, options: list[str]) -> None:
    done = checkoutctl("memory", "families", *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_user_who_may_not_scan_is_told_the_missing_grant(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.redis.ask(("ACL", "SETUSER", "noscan", "on", ">noscan", "~*", "+@all", "-scan"))
    try:
        done = checkoutctl("memory", "families", env={"REDIS_USERNAME": "noscan", "REDIS_PASSWORD": "noscan"})
    finally:
        store.redis.ask(("ACL", "DELUSER", "noscan"))
    assert done.returncode == 4
    assert "'scan'" in done.stderr


def test_a_user_of_few_keys_still_gets_what_it_may_see(filled: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    filled.redis.ask(("ACL", "SETUSER", "few", "on", ">few", "~checkout:session:*", "+@all"))
    try:
        done = checkoutctl("memory", "families", "--json", env={"REDIS_USERNAME": "few", "REDIS_PASSWORD": "few"})
    finally:
        filled.redis.ask(("ACL", "DELUSER", "few"))
    families = json.loads(done.stdout)["families"]
    assert done.returncode == 0, done.stderr
    assert families["sessions"]["unmeasuredKeys"] == 0
    assert families["sessions"]["bytes"] > 0
    assert families["other"]["unmeasuredKeys"] == 1


@pytest.mark.parametrize("command", ["show", "families"])
def test_gone_and_locked_servers_are_one_line_and_their_code(command: str, checkoutctl: Checkoutctl) -> None:
    gone = checkoutctl("memory", command, env={"REDIS_PORT": "1"})
    assert (gone.returncode, gone.stdout) == (69, "")
    assert "cannot be reached" in gone.stderr
    locked = checkoutctl("memory", command, env={"REDIS_PASSWORD": "wrong-canary"})
    assert locked.returncode == 4
    assert "wrong-canary" not in locked.stderr


def test_show_says_what_is_there_and_that_it_is_the_first_look(filled: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("memory", "show")
    assert done.returncode == 0, done.stderr
    assert "no limit" in done.stdout
    assert "open checkouts  2, baskets worth 30.50" in done.stdout
    assert "first look" in done.stdout
    again = checkoutctl("memory", "show", "--json")
    (server,) = json.loads(again.stdout)["servers"]
    assert server["limitBytes"] is None
    assert server["headroomBytes"] == server["systemBytes"] - server["countedBytes"]
    assert server["minutesUntilFull"] is None
    assert server["neverFull"] == "there is no limit"
    assert server["evictedFirst"]["openCheckouts"] == {"number": 2, "basketValue": 30.5}

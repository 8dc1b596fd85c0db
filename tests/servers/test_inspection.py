from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.errors import AccessDenied, CheckoutError, CommandDenied, CommandUnknown
from checkout_cli.servers.inspection import Info, Inspector, missing_grant
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer

RAW = (
    b"# Memory\r\nused_memory:1024\r\nratio:1.50\r\nstale:3.5%\r\n\r\n# Commandstats\r\ncmdstat_get:calls=2,usec=9\r\n"
)


def test_info_is_read_by_section_and_by_name() -> None:
    info = Info.parse(RAW)
    assert info.integer("used_memory") == 1024
    assert (info.number("ratio"), info.number("stale")) == (1.5, 3.5)
    assert info.text("nothing") is info.integer("nothing") is info.number("cmdstat_get") is None
    assert info.parts("cmdstat_get") == {"calls": "2", "usec": "9"}
    assert info.parts("nothing") == {}
    assert info.names("cmdstat_") == ["cmdstat_get"]
    assert list(info.sections) == ["memory", "commandstats"]


@given(st.binary(max_size=200))
def test_no_reply_breaks_it(raw: bytes) -> None:
    info = Info.parse(raw)
    for section in info.sections.values():
        for name in section:
            info.integer(name)
            info.parts(name)


def test_a_real_server_tells_all_sections(any_redis_server: ValkeyServer, store: CheckoutStore) -> None:
    (server,) = store.redis.servers()
    info = Inspector(server).info()
    assert {"server", "memory", "stats", "replication", "commandstats", "keyspace"} <= {*info.sections, "keyspace"}


def test_the_servers_secrets_are_not_kept(valkey_server: Callable[..., ValkeyServer], store: CheckoutStore) -> None:
    server = valkey_server("--requirepass", "canary-1", "--masterauth", "canary-2")
    with CheckoutStore.open(replace(store.settings, redis_port=server.port, redis_password="canary-1")) as mine:
        settings = Inspector(mine.redis.servers()[0]).config()
    assert settings["maxmemory"] == "0"
    assert "canary" not in str(settings)


@pytest.mark.parametrize("odd", ["no CONFIG", "denied CONFIG"], indirect=True)
def test_a_refusal_is_remembered_and_says_what_it_needs(odd: OddServer) -> None:
    with CheckoutStore.open(odd.settings()) as store:
        inspector = Inspector(store.redis.servers()[0])
        for _ in range(2):
            with pytest.raises(CommandUnknown if odd.name.startswith("no") else CommandDenied) as refusal:
                inspector.config()
        reason = missing_grant(refusal.value)
    assert reason is not None
    assert reason.startswith("this server has no CONFIG" if odd.name.startswith("no") else "needs +config|get")
    assert inspector.info  # the rest still answers


@pytest.mark.parametrize("error", [CheckoutError("x"), AccessDenied("wrong password")])
def test_other_errors_need_no_grant(error: CheckoutError) -> None:
    assert missing_grant(error) is None


def test_a_denied_key_is_told_from_a_denied_command(store: CheckoutStore, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">x", "~checkout:*", "+@all")
    narrow = replace(store.settings, redis_username="narrow", redis_password="x")
    try:
        with CheckoutStore.open(narrow) as mine, pytest.raises(CommandDenied) as denied:
            mine.redis.ask(("GET", "foreign"))
    finally:
        with valkey.client() as client:
            client.execute_command("ACL", "DELUSER", "narrow")
    assert denied.value.grant == ""
    assert missing_grant(denied.value) == "needs permission for this key"

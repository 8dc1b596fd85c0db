from __future__ import annotations

from pathlib import Path

import pytest

from checkout_cli.config.database_url import _CHOICES, _INSTEAD, _NUMBERS, _OPTIONS, checked_database_url
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError
from tests.support.command import Checkoutctl

FOREIGN = {
    "schema=shop": "set CHECKOUT_DATABASE_SCHEMA instead",
    "currentSchema=shop": "set CHECKOUT_DATABASE_SCHEMA instead",
    "pgbouncer=true": "leave it out",
    "connection_limit=5": "at most 20 connections",
    "pool_timeout=10": "CHECKOUT_DATABASE_TIMEOUT",
    "statement_timeout=10": "CHECKOUT_DATABASE_TIMEOUT",
    "statement_cache_size=0": "leave it out",
    "sslaccept=strict": "sslmode=verify-full",
    "ssl=true": "sslmode=require",
    "uselibpqcompat=true": "sslmode=require",
    "sslmode=no-verify": "no-verify is called require",
    "sslmode=required": "verify-full",
    "client_encoding=latin1": "always sent as UTF-8",
    "conn_max_age=60": "leave it out",
    "ApplicationName=shop": "application_name=",
    "targetServerType=primary": "target_session_attrs=",
    "sslmod=require": "did you mean sslmode?",
    "frobnicate=1": "none of this name",
    "connect_timeout=soon": "a number",
    "sslmode=require&sslmode=disable": "once",
    "target_session_attrs=master": "read-write",
}


@pytest.mark.parametrize("option", FOREIGN)
def test_an_option_that_the_driver_refuses_is_named_with_what_to_write_instead(option: str, tmp_path: Path) -> None:
    url = f"postgresql://shop:canary@db/shop?application_name=shop&{option}"
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(environ={"DATABASE_URL": url}, directory=tmp_path)
    assert FOREIGN[option] in str(refused.value)
    assert option.partition("=")[0] in str(refused.value)
    assert "canary" not in str(refused.value)
    assert refused.value.exit_code == 78


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sslmode=require",
        "sslmode=verify-full&sslrootcert=system",
        "application_name=shop&connect_timeout=5",
        "options=-c%20search_path%3Dshop",
        "host=one:5432&host=two:5432&target_session_attrs=read-write",
        "host=/run/postgresql",
        "keepalives_idle=30",
    ],
)
def test_the_drivers_own_options_are_taken(query: str) -> None:
    url = f"postgresql://shop@/shop?{query}"
    assert checked_database_url(url) == url


def test_the_driver_knows_what_is_taken_and_refuses_what_is_not() -> None:
    psycopg = pytest.importorskip("psycopg")
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert known | {"sslnegotiation", "gssdelegation", "max_protocol_version", "min_protocol_version"} >= _OPTIONS
    assert set(_INSTEAD) & _OPTIONS == set()
    assert set(_INSTEAD) & known <= {"client_encoding"}


@pytest.mark.parametrize("name", sorted({*_CHOICES} - {"sslnegotiation", "load_balance_hosts"}))
def test_the_driver_takes_each_choice_and_refuses_others(name: str) -> None:
    psycopg = pytest.importorskip("psycopg")

    def refused(value: str) -> bool:
        nowhere = f"host=/nowhere/at/all gssencmode=disable {name}={value}".encode()
        started = psycopg.pq.PGconn.connect_start(nowhere)
        return b"invalid" in started.error_message

    assert not any(map(refused, _CHOICES[name]))
    assert refused("canary")


def test_several_hosts_are_written_as_options() -> None:
    with pytest.raises(ValueError, match="host=one:5432&host=two:5432"):
        checked_database_url("postgresql://u:canary@one:5432,two:5432/shop")


def test_a_file_has_no_options() -> None:
    with pytest.raises(ValueError, match="CHECKOUT_DATABASE_TIMEOUT"):
        checked_database_url("sqlite:////var/lib/checkout.db?mode=ro")


def test_an_option_that_could_be_part_of_a_secret_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="no other options") as refused:
        checked_database_url("postgresql://u@h/d?canary%201=2")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("command", [("health",), ("sessions", "list"), ("setup", "--check"), ("doctor",)])
def test_every_command_says_the_same(checkoutctl: Checkoutctl, command: tuple[str, ...]) -> None:
    url = "postgresql://shop:canary@db/shop?schema=shop"
    done = checkoutctl(*command, env={"DATABASE_URL": url})
    checked = checkoutctl("config", "check", env={"DATABASE_URL": url})
    assert checked.returncode == 78
    words = "must not have the option schema: set CHECKOUT_DATABASE_SCHEMA instead"
    assert words in " ".join(checked.out.split())
    assert words in " ".join((done.out + done.err).split())
    assert "canary" not in done.out + done.err + checked.out + checked.err
    assert done.returncode == (1 if command[0] in {"setup", "doctor"} else 78)


def test_numbers_are_options() -> None:
    assert set(_NUMBERS) <= _OPTIONS

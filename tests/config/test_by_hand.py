"""Settings that a program builds by hand are checked as those of the environment are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import VARIABLES, Settings
from checkout_cli.errors import ConfigurationError
from tests.config.test_settings import WRONG

_FIELDS = {variable.name: field for field, variable in VARIABLES.items()}
_TEXTS = {field for field, variable in VARIABLES.items() if isinstance(variable.default(), str)}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, value in WRONG if _FIELDS[name] in _TEXTS],
    ids=lambda text: repr(text[:24]),
)
def test_what_the_environment_may_not_say_a_program_may_not_either(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings(**{_FIELDS[name]: value})
    assert str(refused.value).startswith(f"{name} (as {_FIELDS[name]})")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("redis_port", 70_000),
        ("redis_port", "6379"),
        ("redis_port", True),
        ("redis_port", 6379.0),
        ("redis_db", -1),
        ("redis_tls", "false"),
        ("redis_tls", 1),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("timeout", "1"),
        ("timeout", None),
        ("session_ttl", 0.5),
        ("redis_host", None),
        ("redis_host", b"localhost"),
        ("redis_password", 12345),
        ("database_url", ["sqlite:///x.db"]),
    ],
)
def test_a_value_of_another_kind_or_range_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings(**{field: value})
    assert VARIABLES[field].name in str(refused.value)
    assert "12345" not in str(refused.value)


def test_everything_that_is_wrong_is_said_at_once_and_no_secret() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings(redis_port=0, timeout=99, database_url="postgresql://u:canary@h/d?schema=x")
    assert len(refused.value.problems) == 3
    assert "canary" not in str(refused.value)


def test_a_change_of_good_settings_is_checked_too() -> None:
    with pytest.raises(ConfigurationError):
        replace(Settings(), redis_port=0)
    with pytest.raises(ConfigurationError, match="a cluster has no Sentinels"):
        Settings(redis_mode="cluster", redis_sentinels="h:1")


def test_empty_texts_are_the_defaults_and_whole_numbers_are_seconds() -> None:
    assert Settings(redis_host="", log_format="", database_url="", timeout=2) == Settings(timeout=2.0)


def test_a_url_sets_its_parts() -> None:
    settings = Settings(redis_url="rediss://shop:secret@cache.example:7000/3")
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("cache.example", 7000, 3)
    assert (settings.redis_username, settings.password(), settings.redis_tls) == ("shop", "secret", True)
    assert settings == replace(settings, trust=1.0)


def test_a_url_and_another_part_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="contradicts REDIS_PORT"):
        Settings(redis_url="redis://cache", redis_port=7000)


def test_what_the_environment_gives_can_be_changed() -> None:
    environ = {"REDIS_URL": "redis://cache:7000/3", "REDIS_TLS": ""}
    loaded = Settings.load(environ=environ, flags={"redis_port": 7001})
    assert replace(loaded, trust=2.0).redis_port == 7001

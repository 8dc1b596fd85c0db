"""A server that refuses our credentials: the hint fits what it said, wherever that is met."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied
from checkout_cli.store.redis.connection import translated
from checkout_cli.store.redis.server import RedisServer
from tests.support.servers import ValkeyServer


@pytest.mark.parametrize(
    ("wanted", "given", "hint"),
    [
        ("", "given", "checkoutctl config unset REDIS_PASSWORD REDIS_PASSWORD_FILE"),
        ("wanted", "", "checkoutctl config set REDIS_PASSWORD"),
        ("wanted", "given", "checkoutctl config set REDIS_PASSWORD"),
    ],
)
def test_a_refused_password_is_answered_by_what_to_change(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, wanted: str, given: str, hint: str
) -> None:
    place = valkey_server()
    with place.client() as client:
        client.config_set("requirepass", wanted)
    server = RedisServer(
        replace(settings, redis_port=place.port, redis_password=given), elapsed=time.monotonic, jitter=random.random
    )
    with pytest.raises(AccessDenied) as refusal:
        server.ask(("PING",))
    server.close()
    assert str(refusal.value.hint) == hint


def test_a_user_who_is_refused_may_be_the_wrong_one(settings: Settings) -> None:
    refused = redis.AuthenticationError("invalid username-password pair or user is disabled.")
    told = translated(refused, replace(settings, redis_username="the shop"))
    assert told.hint == "checkoutctl config set REDIS_USERNAME='the shop' REDIS_PASSWORD"


def test_a_server_in_protected_mode_says_so(settings: Settings) -> None:
    refusal = translated(redis.ResponseError("DENIED Redis is running in protected mode because…"), settings)
    assert isinstance(refusal, AccessDenied)
    assert "protected mode" in str(refusal)
    assert "requirepass" in str(refusal)

from __future__ import annotations

import pytest

from checkout_cli.errors import CommandDenied, CommandUnknown, RedisUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.odd_servers import COMMANDS, OddServer, each_odd_server


@pytest.mark.parametrize("odd", each_odd_server(), indirect=True)
def test_each_odd_server_is_as_odd_as_its_name_says(odd: OddServer) -> None:
    kind, _, command = odd.name.partition(" ")
    with CheckoutStore.open(odd.settings()) as store:
        if odd.name == "hung":
            with pytest.raises(RedisUnavailable, match="in time"):
                store.redis.ping()
            return
        names = [*(name for name in COMMANDS if name != "INFO"), "INFO"]
        _, replies = store.redis.exchange(*((name, "HELP") for name in names[:-1]), ("INFO",))
        answers = dict(zip(names, replies, strict=True))
        if odd.name == "loading":
            with pytest.raises(RedisUnavailable, match="is loading"):
                store.redis.ask(("GET", "x"))
            return
    for name, answer in answers.items():
        expected = {"no": CommandUnknown, "denied": CommandDenied}.get(kind, bytes) if name == command else object
        assert isinstance(answer, (list, expected))
        if name == command and kind == "denied":
            assert isinstance(answer, CommandDenied)
            assert answer.grant.removeprefix("+").startswith(command.lower())
        elif name == command:
            assert isinstance(answer, CommandUnknown)
            assert answer.command == command

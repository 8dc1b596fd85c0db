"""A store without one guard, for negative controls: what the guard prevents must then be noticed."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from checkout_cli.store import flusher
from checkout_cli.store.database.flush_log import FlushLog
from checkout_cli.store.protocol import publishing
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.protocol.value import Value
from checkout_cli.store.protocol.writing import taken_in
from checkout_cli.store.records import Record
from checkout_cli.store.redis import tier as redis_tier
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import SCRIPTS, Script
from checkout_cli.store.redis.opened import Opened


def let_claims_outlive_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds the session's key missing leaves the claim to fill it as it is."""
    ends = b"  redis.call('DEL', KEYS[2])\n"
    _alter(
        monkeypatch, (ends + b"  if not ours", b"  if not ours"), (ends + b"  return {0}\nend", b"  return {0}\nend")
    )


def swap_whatever_lies_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap compares nothing."""
    _alter(monkeypatch, (b"elseif value ~= ARGV[2] then", b"elseif not value then"))


def trust_what_was_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """An external value counts as ours as soon as it is taken in, and before it was compared with the database."""

    def unquestioned(*arguments: Any) -> Value:
        return msgspec.structs.replace(taken_in(*arguments), questionable=False)

    monkeypatch.setattr(flusher, "taken_in", unquestioned)


def forget_what_was_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flush log remembers nothing."""
    monkeypatch.setattr(FlushLog, "_known", lambda *_: {})


def _alter(monkeypatch: pytest.MonkeyPatch, *changes: tuple[bytes, bytes]) -> None:
    """Write sessions with another text of the one script that does so."""
    script = Script("publish", reply=redis_tier._PUBLISH.reply)
    for old, new in changes:
        assert script.text.count(old) == 1, "the script has changed: this switches nothing off"
        script.text = script.text.replace(old, new)
    script.digest = hashlib.sha1(script.text, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(SCRIPTS, script.digest, script)
    monkeypatch.setattr(redis_tier, "_PUBLISH", script)


def believe_what_open_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publish that found nothing before the commit, and no claim, has nothing to do."""
    publish = RedisAdmin.publish

    def hasty(redis: RedisAdmin, record: Record, opened: Opened, *arguments: Any, **options: Any) -> Any:
        if opened.raw is None and not opened.token:
            return Outcome.MISSING, opened
        return publish(redis, record, opened, *arguments, **options)

    monkeypatch.setattr(RedisAdmin, "publish", hasty)


def overwrite_external_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publish takes whatever an external writer has written for old."""
    judge = publishing.judge

    def careless(*arguments: Any) -> Outcome:
        outcome = judge(*arguments)
        return Outcome.SET if outcome is Outcome.EXTERNAL else outcome

    monkeypatch.setattr(publishing, "judge", careless)

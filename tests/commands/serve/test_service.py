"""What clients of the endpoints share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import Request

from checkout_cli.commands.serve import service as module
from checkout_cli.commands.serve.app import _broken
from checkout_cli.commands.serve.service import Service
from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore


def test_a_look_that_fails_in_an_unknown_way_is_not_the_last_one(
    settings: Settings, store: CheckoutStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = module.snapshot
    failures = iter([ZeroDivisionError("a mistake of ours"), None])

    def sometimes(*arguments: object) -> object:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return looked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "snapshot", sometimes)
    monkeypatch.setattr(module, "SNAPSHOT_EVERY", 0.01)

    async def asked() -> int:
        served = Service(settings)
        looking = asyncio.create_task(served.keep_looking())
        try:
            return (await asyncio.wait_for(served.snapshot(), 10)).taken_at
        finally:
            looking.cancel()
            served.close()

    assert asyncio.run(asked()) > 0
    assert "a look for the metrics has failed: ZeroDivisionError: a mistake of ours" in caplog.text


def test_a_mistake_of_ours_is_logged_with_its_place_and_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    try:
        int("phone 170 5550199")  # whose error repeats it
    except ValueError as error:
        answer = asyncio.run(_broken(Request({"type": "http"}), error))
    assert answer.status_code == 500
    assert f"ValueError at {Path(__file__).name}:" in caplog.text
    assert "5550199" not in caplog.text + bytes(answer.body).decode()

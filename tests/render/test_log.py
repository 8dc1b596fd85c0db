"""The debug log: off unless asked for, never a value, one safe line an operation."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from checkout_cli.render.log import LOGGER, configure_logging, wanted
from checkout_cli.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore

OPERATION = {
    "command": "GETEX",
    "key": "checkout:session:1f0c2ab3…",
    "duration_ms": 0.1421,
    "outcome": "ok",
    "tier": "redis",
}


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


def logged(capsys: pytest.CaptureFixture[str], debug: str, log_format: str = "text") -> str:
    configure_logging(Settings(debug=debug, log_format=log_format))
    logging.getLogger(LOGGER).debug("GETEX", extra={"operation": OPERATION})
    return capsys.readouterr().err


@pytest.mark.parametrize("debug", ["redis:*", "*", "express:*,redis:*", "http redis:*"])
def test_debug_lists_switch_it_on(debug: str) -> None:
    assert wanted(debug)


@pytest.mark.parametrize("debug", ["", "express:*", "redis:*,-redis:*", "myredis:*"])
def test_anything_else_leaves_it_off(debug: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not wanted(debug)
    assert logged(capsys, debug) == ""


def test_a_text_line_has_command_key_duration_and_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    line = logged(capsys, "redis:*")
    assert line.endswith(" redis GETEX checkout:session:1f0c2ab3… 0.142 ms ok\n")


def test_json_lines_are_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(logged(capsys, "redis:*", "json"))
    assert document["command"] == "GETEX"
    assert document["durationMs"] == 0.1421
    assert document["tier"] == "redis"
    assert document["timestamp"].endswith("Z")


def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(debug="redis:*"))
    assert logged(capsys, "redis:*").count("\n") == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_key_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(Settings(debug="redis:*", log_format=log_format))
    evil = OPERATION | {"key": "checkout:session:\x1b]0;x\x07\n\u202e"}
    logging.getLogger(LOGGER).debug("GETEX", extra={"operation": evil})
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()


def test_the_store_logs_no_value_and_no_whole_id(store: CheckoutStore, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(debug="redis:*"))
    created = store.create({"userEmail": "canary@example.com", "notes": "canary-note"}).session
    store.get(created.checkout_id)
    text = capsys.readouterr().err
    assert "EVALSHA" in text
    assert created.checkout_id[:8] in text
    assert created.checkout_id not in text
    assert "canary" not in text

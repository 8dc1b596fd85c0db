"""What must be so before anything listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.commands.serve import serving
from checkout_cli.commands.serve.serving import ExtraMissing, plan
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer

TOKEN = "f00dcafe" * 4


@pytest.mark.parametrize(
    "token",
    ["short", "x" * 15, "with a newline\nin the middle of it", "a space at the end of it ", "nön-äscii-characters"],
)
def test_a_token_that_is_none_is_refused(token: str, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="shorter than 16"):
        plan(replace(settings, serve_token_value=token), "127.0.0.1", 8642, [])


def test_an_empty_file_of_the_token_is_refused_and_a_missing_one_told(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigurationError, match="No such file"):
        plan(replace(settings, serve_token_file=str(file)), "127.0.0.1", 8642, [])
    file.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        plan(replace(settings, serve_token_file=str(file)), "127.0.0.1", 8642, [])
    file.write_text(f"{TOKEN}\n")
    assert plan(replace(settings, serve_token_file=str(file)), "127.0.0.1", 8642, []).token == TOKEN


def test_without_a_token_only_loopback_is_served(settings: Settings) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        planned = plan(settings, host, 8642, [])
        assert (planned.token, planned.always) == (None, False)
    for host in ("0.0.0.0", "::", "10.0.0.5", "shop.example"):  # noqa: S104  (which is what is tested)
        with pytest.raises(ConfigurationError, match="without a token only loopback"):
            plan(settings, host, 8642, [])
    assert plan(replace(settings, serve_token_value=TOKEN), "10.0.0.5", 8642, []).always


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(ExtraMissing, match="uvicorn") as raised:
        serving.needs_extra()
    assert "checkoutctl[serve]" in raised.value.hint


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (["--host", "0.0.0.0"], {}, 78, "without a token"),  # noqa: S104
        ([], {"CHECKOUT_SERVE_TOKEN": "short"}, 78, "shorter than 16"),
        ([], {"CHECKOUT_SERVE_TOKEN_FILE": "/no/such/file"}, 78, "No such file"),
        (["--host", "192.0.2.1"], {"CHECKOUT_SERVE_TOKEN": TOKEN}, 78, "cannot listen"),
        (["--port", "0"], {}, 2, "port"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_nothing_listens(
    words: list[str], environment: dict[str, str], code: int, said: str, checkoutctl: Checkoutctl
) -> None:
    run = checkoutctl("serve", *words, env=environment)
    assert run.returncode == code, run
    assert said in run.stderr
    assert TOKEN not in run.stderr


def test_a_port_that_is_taken_is_told(checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]) -> None:
    taken = valkey_server().port
    run = checkoutctl("serve", "--port", str(taken))
    assert (run.returncode, run.stderr.splitlines()[0]) == (
        69,
        f"error: another program listens at 127.0.0.1:{taken}",
    )

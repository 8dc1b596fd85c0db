"""``checkoutctl serve``: the checks before anything listens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec

from checkout_cli.config.addresses import checked_host, checked_number, is_loopback
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, ConfigurationError, ExitCode, InvalidInput

SHORTEST_TOKEN = 16
"""Characters; a token of ``openssl rand -hex 32`` has 64."""
_PLAIN = re.compile(r"[!-~]+")
_MAKE_ONE = "openssl rand -hex 32 > token; chmod 600 token; export CHECKOUT_SERVE_TOKEN_FILE=$PWD/token"


class ExtraMissing(CheckoutError):
    """The packages of an extra are not installed."""

    exit_code = ExitCode.UNAVAILABLE
    default_hint = "pip install 'checkoutctl[serve]'"


@dataclass(frozen=True)
class Serving:
    """Where to listen, other ``names`` of the server, and the token, which is ``always`` needed or only for changes."""

    settings: Settings
    host: str
    port: int
    names: tuple[str, ...]
    token: str | None
    always: bool


def alert_rules() -> str:
    """Alert rules for Prometheus, as YAML."""
    return files(__package__ or "").joinpath("rules.yml").read_text(encoding="utf-8")


def needs_extra() -> None:
    """Raise :class:`ExtraMissing` where the packages of the extra ``[serve]`` are not installed."""
    missing = [name for name in ("starlette", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise ExtraMissing(f"serve needs {', '.join(missing)}, which is not installed")


def _check_name(name: str) -> None:
    host, _, port = name.rpartition(":") if name.count(":") == 1 else (name.strip("[]"), "", "0")
    if "*" in host:
        raise InvalidInput(
            "--allow-host takes names and no patterns: every web page could ask this server by a name of its own",
            hint="--allow-host shop.example, once for each name",
        )
    if not host:
        raise InvalidInput("--allow-host is empty", hint="--allow-host shop.example")
    try:
        checked_host(host)
        checked_number(port, 0, 65535)
    except ValueError as error:
        raise InvalidInput(f"--allow-host {name[:64]!r} {error}", hint="--allow-host shop.example") from error


def plan(settings: Settings, host: str, port: int, names: Sequence[str]) -> Serving:
    """Check how to serve.

    Raises:
        InvalidInput: not a name.
        ConfigurationError: the token is empty or too short, its file cannot be read, or there is none and other
            machines could ask.
    """
    token = settings.serve_token()
    if token is not None and (len(token) < SHORTEST_TOKEN or not _PLAIN.fullmatch(token)):
        raise ConfigurationError(
            "the token (CHECKOUT_SERVE_TOKEN, or the file of CHECKOUT_SERVE_TOKEN_FILE) is empty, has spaces in it, or "
            f"is shorter than {SHORTEST_TOKEN} plain characters",
            hint=_MAKE_ONE,
        )
    for name in names:
        _check_name(name)
    always = not is_loopback(host)
    if always and token is None:
        raise ConfigurationError(f"without a token only loopback can be served, and {host} is not", hint=_MAKE_ONE)
    return Serving(settings, host, port, tuple(names), token, always)

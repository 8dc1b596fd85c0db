"""``checkoutctl serve``: what must be so before anything listens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from checkout_cli.addresses import is_loopback
from checkout_cli.errors import CheckoutError, ConfigurationError, ExitCode
from checkout_cli.settings import Settings

SHORTEST_TOKEN = 16
"""Characters; what ``openssl rand -hex 32`` makes has 64."""
_MAKE_ONE = "openssl rand -hex 32 > token; chmod 600 token; export CHECKOUT_SERVE_TOKEN_FILE=$PWD/token"


class ExtraMissing(CheckoutError):
    """The packages of an extra are not installed."""

    exit_code = ExitCode.UNAVAILABLE
    default_hint = "pip install 'checkoutctl[serve]'"


@dataclass(frozen=True)
class Serving:
    """Where to listen, by which names besides, and with which token; ``always``: it is wanted for every request."""

    settings: Settings
    host: str
    port: int
    names: tuple[str, ...]
    token: str | None
    always: bool


def needs_extra() -> None:
    """The extra ``[serve]``.

    Raises:
        ExtraMissing: it is not installed.
    """
    missing = [name for name in ("starlette", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise ExtraMissing(f"serve needs {', '.join(missing)}, which is not installed")


def plan(settings: Settings, host: str, port: int, names: Sequence[str]) -> Serving:
    """How to serve.

    Raises:
        ConfigurationError: the token is empty or too short, its file cannot be read, or there is none and not only
            this machine could ask.
    """
    token = settings.serve_token()
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigurationError(
            f"the token of CHECKOUT_SERVE_TOKEN_FILE is empty, or shorter than {SHORTEST_TOKEN} plain characters",
            hint=_MAKE_ONE,
        )
    always = not is_loopback(host)
    if always and token is None:
        raise ConfigurationError(f"without a token only loopback can be served, and {host} is not", hint=_MAKE_ONE)
    return Serving(settings, host, port, tuple(names), token, always)

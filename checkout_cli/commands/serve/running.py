"""Bringing it together: the socket first, so that what is wrong with it is said before anything starts."""

from __future__ import annotations

from collections.abc import Callable

from checkout_cli.commands.serve.app import make_app
from checkout_cli.commands.serve.guard import Rules, names
from checkout_cli.commands.serve.server import listening, serve
from checkout_cli.commands.serve.service import Service
from checkout_cli.commands.serve.serving import Serving
from checkout_cli.config.addresses import address_text


def run(serving: Serving, tell: Callable[[str], None]) -> None:
    """Serve until a signal ends it.

    Raises:
        PortTaken, AccessDenied, ConfigurationError: it cannot listen there.
    """
    found = listening(serving.host, serving.port)
    with found:
        rules = Rules(names(serving.host, serving.names), serving.token, serving.always)
        tell(f"serving http://{address_text(serving.host, serving.port)}; Ctrl-C ends it")
        serve(make_app(Service(serving.settings), rules), found)

"""The checks of every request: one of our host names, no foreign web page behind it, and the token where needed.

A browser on the same machine can be made to send requests to the loopback interface (DNS rebinding, cross-site
requests): the first two checks are against that, and hold without a token too.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from checkout_cli.strict_json import json_text

OPEN_PATHS = frozenset({"/live"})
"""Paths for anybody: they tell nothing."""
PROBES = OPEN_PATHS | {"/ready"}
"""Paths for probes, which name this host by its address, or in HTTP/1.0 not at all; only names can be rebound."""
LARGEST_HEADERS = 16 * 1024
"""Bytes of all headers of a request together."""
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{0,5})?")
_QUIET = ("GET", "HEAD")
_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True)
class Rules:
    """``hosts`` are our names. Changes need the ``token``; with ``always``, everything does."""

    hosts: frozenset[str]
    token: str | None
    always: bool = False


class Guard:
    """ASGI middleware that answers for the application where a request does not pass."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, closing)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in headers.raw) > LARGEST_HEADERS:
            return _closing(refused(431, f"the headers have more than {LARGEST_HEADERS:,} bytes"))
        if (
            "transfer-encoding" in headers and "content-length" in headers
        ):  # two ends, and a proxy may believe the other
            return _closing(refused(400, "a body with a length has no transfer encoding"))
        if not self._is_our_name(scope, headers):
            return refused(400, "this host is not served here", hint="--allow-host NAME")
        origins = headers.getlist("origin")
        if any(_origin_host(origin) not in self._rules.hosts for origin in origins):
            return refused(403, "requests from other web pages are not served")
        if scope["path"] in OPEN_PATHS or (scope["method"] in _QUIET and not self._rules.always):
            return None
        return self._without_token(headers.getlist("authorization"))

    def _is_our_name(self, scope: Scope, headers: Headers) -> bool:
        host = host_of(headers.get("host", ""))
        if host in self._rules.hosts or scope["path"] not in PROBES:
            return host in self._rules.hosts
        return is_address(host) or ("host" not in headers and scope["http_version"] == "1.0")

    def _without_token(self, given: list[str]) -> JSONResponse | None:
        token = self._rules.token
        if token is None:
            return refused(403, "this needs a token, and none is set", hint="set CHECKOUT_SERVE_TOKEN_FILE")
        if not given:
            answer = refused(401, "this needs a bearer token")
        elif len(given) == 1 and _is_bearer(given[0], token):
            return None
        else:
            answer = refused(401, "this is not the token")
        answer.headers["www-authenticate"] = "Bearer"
        return answer


def _is_bearer(given: str, token: str) -> bool:
    """Compare in constant time, which does not tell how much of it is right."""
    kind, _, value = given.partition(" ")
    right = hmac.compare_digest(value.strip().encode("latin-1"), token.encode())
    return right and kind.lower() == "bearer"


def host_of(text: str) -> str:
    """The name in a Host header, without its port and the brackets of IPv6; empty where it is none."""
    host = text.strip().lower()
    found = _HOST.fullmatch(host)
    if found is None:
        return host if is_address(host) else ""
    return found[1] or found[2]


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _origin_host(origin: str) -> str:
    """The name in an Origin header of a web page; empty for extensions, files and the like."""
    scheme, _, rest = origin.partition("://")
    return host_of(rest) if scheme.lower() in {"http", "https"} else ""


def _closing(answer: StrictJson) -> StrictJson:
    answer.headers["connection"] = "close"
    return answer


def names(host: str, more: Iterable[str]) -> frozenset[str]:
    """The names of a server on an address."""
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower(), *(host_of(name) for name in more)}) - {""}


class StrictJson(JSONResponse):
    """JSON as the commands write it, in ASCII: what it is pasted into is not turned round by it."""

    def render(self, content: Any) -> bytes:
        return json_text(content).encode()


def refused(status: int, error: str, *, hint: str = "") -> StrictJson:
    """An error as JSON."""
    return StrictJson({"error": error} | ({"hint": hint} if hint else {}), status)

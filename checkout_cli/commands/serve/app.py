"""The endpoints: health as the specification has it, management, liveness, readiness and metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from checkout_cli.commands.health.health import HealthReport, Status
from checkout_cli.commands.serve import management
from checkout_cli.commands.serve.guard import Guard, Rules, StrictJson, names, refused
from checkout_cli.commands.serve.metrics import exposition
from checkout_cli.commands.serve.server import listening, serve
from checkout_cli.commands.serve.service import Service
from checkout_cli.commands.serve.serving import Serving
from checkout_cli.commands.sessions.export_masking_view import body_shown
from checkout_cli.config.addresses import address_text
from checkout_cli.errors import CheckoutError, ExitCode, OwnMistake
from checkout_cli.session import decode, strict_json
from checkout_cli.terminal.document import document

LARGEST_BODY = 16 * 1024
"""Bytes; the longest useful request has about a hundred."""
BODY_TIMEOUT = 5.0
"""Seconds for the body of a request."""
FIRST_LOOK = 10.0
"""Seconds for which metrics wait for the first snapshot."""
_HTTP_OF = {
    ExitCode.USAGE: 400,
    ExitCode.NOT_FOUND: 404,
    ExitCode.TRY_AGAIN: 409,
    ExitCode.CONFIGURATION: 500,
}
_ACTIONS = "cleanup_expired, get_stats, get_all_sessions"

_log = logging.getLogger("checkout_cli.commands.serve")


def run(serving: Serving, tell: Callable[[str], None]) -> None:
    """Serve until a signal ends it; the socket comes first, so that its problems are told before anything starts.

    Raises:
        PortTaken, AccessDenied, ConfigurationError: it cannot listen there.
    """
    with listening(serving.host, serving.port) as found:
        rules = Rules(names(serving.host, serving.names), serving.token, serving.always)
        tell(f"serving http://{address_text(serving.host, serving.port)}; Ctrl-C ends it")
        serve(make_app(Service(serving.settings), rules), found)


def make_app(service: Service, rules: Rules) -> Starlette:
    """The application; it closes the service at its end."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(service.keep_looking())
        yield
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        service.close()

    app = Starlette(
        routes=[
            Route("/live", live),
            Route("/ready", ready),
            Route("/api/redis/health", health),
            Route("/api/redis/cleanup", manage, methods=["POST"]),
            Route("/metrics", metrics),
        ],
        middleware=[Middleware(Guard, rules=rules)],
        exception_handlers={HTTPException: _not_served, CheckoutError: _failed, 500: _broken},
        lifespan=lifespan,
    )
    app.state.service = service
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def live(_: Request) -> Response:
    """Whether this process runs. Redis is not asked: a restart of this process would not bring it back."""
    return StrictJson({"status": "live"})


async def ready(request: Request) -> Response:
    report = await _service(request).health()
    return StrictJson({"status": report.status}, _status_code(request, report))


async def health(request: Request) -> Response:
    """The health document of the specification."""
    report = await _service(request).health()
    return StrictJson(document(report), _status_code(request, report))


async def metrics(request: Request) -> Response:
    """The last snapshot for Prometheus."""
    try:
        async with asyncio.timeout(FIRST_LOOK):
            found = await _service(request).snapshot()
    except TimeoutError:
        return refused(503, "no look at the tiers has come to its end yet")
    body, kind = exposition(found, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": kind})


def _status_code(request: Request, report: HealthReport) -> int:
    """503 where nothing serves sessions durably; with ``strict``, also where a tier is unavailable."""
    strict = request.query_params.get("strict", "") in {"1", "true"}
    well = report.status is Status.HEALTHY or (report.status is Status.DEGRADED and not strict)
    return 200 if well and report.exit_code is not ExitCode.CONFIGURATION else 503


# Management


async def manage(request: Request) -> Response:
    """One of the three actions of the specification."""
    wanted = await _object(request)
    action = wanted.get("action")
    handler = _HANDLERS.get(action) if isinstance(action, str) else None
    if handler is None:
        return refused(400, f"unknown action: the supported ones are {_ACTIONS}")
    return await handler(_service(request), wanted)


async def _cleanup_expired(service: Service, _: Mapping[str, Any]) -> Response:
    report = await service.run(management.cleanup_expired)
    number = report.removed_from_index
    message = f"removed {number:,} from the index and {report.removed_from_database:,} from the database"
    if not report.finished:
        message += "; more are left for the next clean-up"
    answer: dict[str, Any] = {"success": not report.unreachable, "action": "cleanup_expired", "cleanedCount": number}
    if report.unreachable:
        answer["unreachable"] = report.unreachable
    return StrictJson(answer | {"message": message})


async def _get_stats(service: Service, _: Mapping[str, Any]) -> Response:
    found = await service.run(management.statistics)
    stats = document(found)
    return StrictJson({"success": True, "action": "get_stats", "stats": stats, "sessionCount": stats["activeSessions"]})


async def _get_all_sessions(service: Service, wanted: Mapping[str, Any]) -> Response:
    limit, cursor = wanted.get("limit", 100), wanted.get("cursor")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= management.MOST_SESSIONS:
        return refused(400, f"limit must be a number from 1 to {management.MOST_SESSIONS}")
    if cursor is not None and not isinstance(cursor, str):
        return refused(400, "cursor must be what another answer has said")
    page, following = await service.run(lambda store: management.sessions_page(store, limit=limit, cursor=cursor))
    sessions = [decode(body_shown(session.body)) for session in page]
    answer = {"success": True, "action": "get_all_sessions", "sessions": sessions, "count": len(sessions)}
    return StrictJson(answer | {"cursor": following})


_HANDLERS: dict[str, Callable[[Service, Mapping[str, Any]], Awaitable[Response]]] = {
    "cleanup_expired": _cleanup_expired,
    "get_stats": _get_stats,
    "get_all_sessions": _get_all_sessions,
}


async def _object(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # what a foreign web page cannot send without asking first
        raise HTTPException(415, "the body must be application/json")
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            body = await _body(request)
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_TIMEOUT:g} s") from None
    try:
        found = strict_json(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is no JSON that every program reads alike") from None
    if not isinstance(found, dict):
        raise HTTPException(400, 'the body must be a JSON object, as {"action": "get_stats"}')
    return found


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"the body has more than {LARGEST_BODY:,} bytes", {"connection": "close"})
    return body


# Errors


async def _not_served(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (it is registered for these)
    answer = refused(error.status_code, error.detail.lower() if error.status_code in {404, 405} else error.detail)
    answer.headers.update(error.headers or {})
    return answer


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, CheckoutError)  # noqa: S101  (it is registered for these)
    status = _HTTP_OF.get(error.exit_code, 503)
    if status >= 500:
        _log.warning("%s: %s", type(error).__name__, error)
    answer = refused(status, str(error), hint=error.hint)
    if error.exit_code is ExitCode.TRY_AGAIN:
        answer.headers["retry-after"] = "30"
    return answer


async def _broken(_: Request, error: Exception) -> Response:
    if not isinstance(error, ClientDisconnect):
        _log.error("%s", OwnMistake(error))
    return refused(500, "something is wrong here; the server's log has more")

"""What clients send that no honest client does, and probes, which are honest and know no name of ours."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Callable

import pytest

from checkout_cli.commands.serve import management
from checkout_cli.commands.serve.server import MOST_CONNECTIONS
from checkout_cli.commands.serve.serving import plan
from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput
from checkout_cli.keys import INDEX, session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.commands.serve.conftest import TOKEN, Served


def answer(served: Served, *lines: str, body: str = "") -> bytes:
    """All that comes back, until the server closes; fails where it does not."""
    with socket.create_connection((HOST, served.port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "", body]).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def status(served: Served, path: str, *headers: str, version: str = "1.1") -> int:
    close = ["Connection: close"] if version == "1.1" else []
    return int(answer(served, f"GET {path} HTTP/{version}", *headers, *close).split()[1])


def test_names_addresses_and_origins(served: Served) -> None:
    for host in ("[::1]evil.com", "localhost:evil", "evil.com", "[::1", "localhost:80:80", "a@localhost", "127.1.evil"):
        assert status(served, "/live", f"Host: {host}") == 400, host
    for origin in ("chrome-extension://localhost", "file://localhost", "null", "http://localhost:evil", "localhost"):
        assert status(served, "/metrics", "Host: localhost", f"Origin: {origin}") == 403, origin
    assert status(served, "/metrics", "Host: localhost", "Origin: https://localhost:3000") == 200


def test_a_probe_names_an_address_or_nothing(served: Served) -> None:
    for path in ("/live", "/ready"):
        assert status(served, path, "Host: 10.1.2.3:8642") == 200
        assert status(served, path, "Host: [fd00::7]:8642") == 200
        assert status(served, path, version="1.0") == 200
        assert status(served, path, "Host: evil.com", version="1.0") == 400
    assert status(served, "/metrics", "Host: 10.1.2.3:8642") == 400
    assert status(served, "/metrics", version="1.0") == 400


def test_two_lengths_of_one_body_are_refused_and_closed(served: Served) -> None:
    head = ("POST /api/redis/cleanup HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}")
    kind = "Content-Type: application/json"
    body = '16\r\n{"action":"get_stats"}\r\n0\r\n\r\n'
    found = answer(served, *head, kind, "Content-Length: 4", "Transfer-Encoding: chunked", body=body)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"transfer encoding" in found


def test_headers_have_a_limit_together(served: Served) -> None:
    assert status(served, "/live", "Host: localhost", *(f"X-{number}: {'a' * 50}" for number in range(100))) == 200
    assert status(served, "/live", "Host: localhost", *(f"X-{number}: {'a' * 50}" for number in range(500))) == 431


def test_idle_connections_give_way(served: Served) -> None:
    with contextlib.ExitStack() as opened:
        for _ in range(MOST_CONNECTIONS + 50):
            opened.enter_context(socket.create_connection((HOST, served.port), timeout=5))
        assert status(served, "/live", "Host: localhost") == 200


# The guards, and what they keep away: each is switched off in a server of its own

SERVER = "import resource, checkout_cli.commands.serve.guard as guard, checkout_cli.commands.serve.server as server\n"
WITHOUT_LIMIT = SERVER + "server.LARGEST_HEADERS = guard.LARGEST_HEADERS = 10**9"
FEW_FILES = SERVER + "resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)); server.MOST_CONNECTIONS = 100\n"
ALL_KEPT = FEW_FILES + "server.MOST_CONNECTIONS = 10**6"
IMPATIENT = SERVER + "server.REQUEST_TIMEOUT = 1.0\n"
PATIENT = IMPATIENT + "server.BoundedProtocol.pause_writing = server.H11Protocol.pause_writing"
ENDLESS = SERVER + "server.BoundedProtocol._expect = lambda _: None"
SHORT = SERVER + "server.REQUEST_TIMEOUT = 1.0"


@pytest.mark.parametrize(("altered", "code"), [("pass", 431), (WITHOUT_LIMIT, 200)])
def test_headers_are_refused_by_their_limit(serve: Callable[..., Served], altered: str, code: int) -> None:
    served = serve(altered=altered)
    assert status(served, "/live", "Host: localhost", *(f"X-{n}: {'a' * 150}" for n in range(120))) == code


@pytest.mark.parametrize(("altered", "answers"), [(FEW_FILES, True), (ALL_KEPT, False)])
def test_a_server_that_kept_all_idle_connections_would_answer_nobody(
    serve: Callable[..., Served], altered: str, answers: bool
) -> None:
    served = serve(altered=altered)
    with contextlib.ExitStack() as opened:
        for _ in range(450):
            opened.enter_context(socket.create_connection((HOST, served.port), timeout=5))
        refused = contextlib.nullcontext() if answers else pytest.raises(TimeoutError)
        with refused:
            assert status(served, "/live", "Host: localhost") == 200


def is_closed(connection: socket.socket, seconds: float) -> bool:
    """Whether the server closes it within so long, though nothing is read."""
    waiting = select.poll()
    waiting.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(waiting.poll(seconds * 1000))


@pytest.mark.parametrize(("altered", "closes"), [(IMPATIENT, True), (PATIENT, False)])
def test_who_reads_nothing_is_left(serve: Callable[..., Served], altered: str, closes: bool) -> None:
    served = serve(altered=altered)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((HOST, served.port))
        connection.settimeout(1)
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.suppress(TimeoutError, ConnectionError):  # until the server reads no more
            while True:
                connection.sendall(request * 100)
        assert is_closed(connection, 60 if closes else 5) is closes


@pytest.mark.parametrize(("altered", "closes"), [(SHORT, True), (ENDLESS, False)])
def test_who_sends_half_a_request_is_left(serve: Callable[..., Served], altered: str, closes: bool) -> None:
    served = serve(altered=altered)
    with socket.create_connection((HOST, served.port)) as connection:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: local")
        assert is_closed(connection, 60 if closes else 3) is closes


def test_a_page_of_dead_entries_ends_and_without_its_end_does_not(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = {f"dead-{number:06}": store.clock.wall() + 60_000 + number for number in range(20_000)}
    store.redis.ask(("ZADD", INDEX, *(part for name, score in dead.items() for part in (score, name))))
    monkeypatch.setattr(management, "LONGEST_PAGE", 0.01)
    found, cursor = management.sessions_page(store, limit=50, cursor=None)
    assert (found, cursor is None) == ([], False)
    monkeypatch.setattr(management, "LONGEST_PAGE", 600)
    assert management.sessions_page(store, limit=50, cursor=None) == ([], None)  # all of them were looked at


def test_text_of_others_is_ascii(served: Served) -> None:
    body = json.dumps({"paymentStatus": "pending", "items": [{"product_name": "\u202e\x7f\x9b"}]}, ensure_ascii=False)
    with served.redis.client() as client:
        client.set(session_key("bidi-session"), body, ex=600)
        client.zadd(INDEX, {"bidi-session": time.time() * 1000 + 600_000})
    found = served.post({"action": "get_all_sessions", "limit": 500})
    assert r"\u202e\u007f\u009b" in found.text
    assert found.content.decode("ascii").isprintable()


@pytest.mark.parametrize("name", ["*", "*.shop.example"])
def test_no_pattern_is_a_name(settings: Settings, name: str) -> None:
    with pytest.raises(InvalidInput, match="no patterns"):
        plan(settings, HOST, 8642, [name])

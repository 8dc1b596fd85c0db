"""The endpoints of the specification, over real HTTP."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import httpx
import pytest
from typer.testing import CliRunner

from checkout_cli.cli.main import app
from checkout_cli.commands.acl.roles import NEWEST, PASSWORD, RoleName, rule_of
from checkout_cli.jobs.job_lock import job_lock
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.commands.serve.conftest import TOKEN, Served
from tests.readme import HELP
from tests.support.command import Checkoutctl
from tests.support.stores import wait_until

Serve = Callable[..., Served]


def test_health_is_the_specifications_document(served: Served) -> None:
    answer = served.get("/api/redis/health")
    assert answer.status_code == 200
    document = answer.json()
    assert document["environment"] == {"configured": True, "errors": []}
    assert (document["redis"]["connected"], document["redis"]["checkoutStore"]) == (True, True)
    assert document["database"]["connected"] is True
    assert document["inMemory"]["connected"] is True
    assert document["sessions"]["count"] == 30
    assert document["sessions"]["stats"] == {
        "totalCreated": 30,
        "totalCompleted": 0,
        "totalFailed": 0,
        "activeSessions": 30,
        "lastCleanup": None,
    }
    assert answer.headers["cache-control"] == "no-store"


def test_the_three_actions_answer_as_specified(served: Served) -> None:
    cleaned = served.post({"action": "cleanup_expired"}).json()
    assert (cleaned["success"], cleaned["action"], cleaned["cleanedCount"]) == (True, "cleanup_expired", 0)
    assert "removed 0" in cleaned["message"]
    counted = served.post({"action": "get_stats"}).json()
    assert (counted["success"], counted["action"], counted["sessionCount"]) == (True, "get_stats", 30)
    assert counted["stats"]["totalCreated"] == 30
    assert counted["stats"]["lastCleanup"] is not None
    wait_until(lambda: served.get("/api/redis/health").json()["sessions"]["stats"] == counted["stats"], 5)
    listed = served.post({"action": "get_all_sessions"}).json()
    assert (listed["success"], listed["action"], listed["count"]) == (True, "get_all_sessions", 30)
    assert {session["checkoutId"] for session in listed["sessions"]} == {f"session-{at:04}" for at in range(30)}


def test_sessions_come_page_by_page_each_once_and_masked(served: Served) -> None:
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        answer = served.post({"action": "get_all_sessions", "limit": 7, "cursor": cursor})
        for personal in ("Canary", "5550199", "canary@"):
            assert personal not in answer.text
        page = answer.json()
        assert page["count"] == len(page["sessions"]) <= 7
        seen += [session["checkoutId"] for session in page["sessions"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [f"session-{at:04}" for at in range(30)]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"action": "drop_everything"}, 400, "cleanup_expired, get_stats, get_all_sessions"),
        ({}, 400, "unknown action"),
        ({"action": ["get_stats"]}, 400, "unknown action"),
        (b"", 400, "no JSON"),
        (b'{"action": "get_stats"', 400, "no JSON"),
        (b"\xff\xfe{}", 400, "no JSON"),
        (b'{"action": "get_stats", "action": "cleanup_expired"}', 400, "no JSON"),
        (b'{"action": "get_stats", "limit": NaN}', 400, "no JSON"),
        (b'{"action": "\xff"}', 400, "no JSON"),
        (b"[1]", 400, "must be a JSON object"),
        (b'"get_stats"', 400, "must be a JSON object"),
        (b"[" * 15_000, 400, "no JSON"),
        (b'{"action": "get_stats", "x": "' + b"x" * 20_000 + b'"}', 413, "more than 16,384 bytes"),
        ({"action": "get_all_sessions", "limit": 0}, 400, "limit must be"),
        ({"action": "get_all_sessions", "limit": True}, 400, "limit must be"),
        ({"action": "get_all_sessions", "limit": 501}, 400, "limit must be"),
        ({"action": "get_all_sessions", "cursor": 7}, 400, "cursor must be"),
        ({"action": "get_all_sessions", "cursor": "nonsense"}, 400, "not a cursor"),
    ],
)
def test_a_request_that_means_nothing_is_refused_with_a_reason(
    body: object, status: int, said: str, served: Served
) -> None:
    answer = served.post(body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]


def test_ten_megabytes_are_cut_off(served: Served) -> None:
    begun = time.monotonic()
    try:
        answer = served.post(b"x" * 10_000_000)
    except httpx.TransportError:  # it may have hung up while we were still sending
        pass
    else:
        assert answer.status_code == 413
    assert time.monotonic() - begun < 5
    assert served.get("/live").status_code == 200


def test_only_json_is_taken(served: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain"}
    answer = httpx.post(f"{served.url}/api/redis/cleanup", headers=headers, content=b'{"action": "get_stats"}')
    assert (answer.status_code, answer.json()) == (415, {"error": "the body must be application/json"})


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/live", 405)])
def test_what_is_not_served_is_told_as_json(method: str, path: str, status: int, served: Served) -> None:
    answer = httpx.request(method, served.url + path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


def test_a_get_never_changes_anything(served: Served) -> None:
    assert served.get("/api/redis/cleanup?action=cleanup_expired").status_code == 405


def test_another_clean_up_is_a_conflict_and_not_a_second_one(served: Served) -> None:
    with CheckoutStore.open(served.settings) as store, job_lock(store, "cleanup", "cron:1:abc"):
        answer = served.post({"action": "cleanup_expired"})
    assert (answer.status_code, answer.headers["retry-after"]) == (409, "30")
    assert "locked by cron:1:abc" in answer.json()["error"]


# Who may ask


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401), (TOKEN[:-1], 401), (TOKEN, 200)])
def test_what_changes_something_needs_the_token(token: str | None, status: int, served: Served) -> None:
    answer = served.post({"action": "get_stats"}, token=token)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Host", "localhost:1", 200),
        ("Host", "[::1]", 200),
        ("Host", "evil.example", 400),
        ("Host", "localhost.evil.example", 400),
        ("Host", "", 400),
        ("Origin", "http://localhost:3000", 200),
        ("Origin", "https://evil.example", 403),
        ("Origin", "null", 403),
    ],
)
def test_only_our_own_names_and_pages_are_served(header: str, value: str, status: int, served: Served) -> None:
    assert served.get("/ready", headers={header: value}).status_code == status


def test_beyond_loopback_everything_but_live_needs_the_token_and_a_name(serve: Serve) -> None:
    served = serve("--host", "0.0.0.0", "--allow-host", "shop.internal")  # noqa: S104  (which is what is tested)
    right = {"Authorization": f"bearer {TOKEN}", "Host": "shop.internal"}
    assert served.get("/live").status_code == 200
    for path in ("/ready", "/api/redis/health", "/metrics"):
        assert served.get(path).status_code == 401
        assert served.get(path, headers=right).status_code == 200
    assert served.get("/ready", headers=right | {"Host": "other.internal"}).status_code == 400


def test_the_operators_user_may_do_all_of_it(serve: Serve) -> None:
    served = serve(more={"REDIS_USERNAME": "checkout-operator", "REDIS_PASSWORD": "0nly-here"})
    rule = rule_of(RoleName.OPERATOR, served.settings).command(NEWEST).replace(PASSWORD, "0nly-here")
    with served.redis.client() as client:
        client.execute_command(*rule.split())
        client.acl_log_reset()
        assert served.get("/ready?strict=1").status_code in {200, 503}  # as it was before there was this user
        time.sleep(1.1)
        assert served.get("/ready?strict=1").status_code == 200
        for action in ("cleanup_expired", "get_stats", "get_all_sessions"):
            assert served.post({"action": action}).status_code == 200
        assert client.acl_log() == []


# When something is away


def test_without_redis_we_are_ready_and_degraded_and_strictly_not(serve: Serve) -> None:
    served = serve()
    assert served.get("/ready?strict=1").status_code == 200
    served.redis.kill()
    time.sleep(1.1)  # a look answers everybody for a second
    ready = served.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "degraded"})
    assert served.get("/ready?strict=1").status_code == 503
    health = served.get("/api/redis/health")
    assert (health.status_code, health.json()["redis"]["connected"]) == (200, False)
    assert served.get("/live").status_code == 200
    served.redis.start()
    wait_until(lambda: served.get("/ready?strict=1").status_code == 200, 10)


def test_what_is_documented_for_strict_monitors_is_503_while_redis_is_stopped(serve: Serve) -> None:
    documented = re.findall(r"localhost:8642(/\S+\?strict=1)", (HELP / "http.md").read_text(encoding="utf-8"))
    told = re.findall(r"(/\S+\?strict=1)", CliRunner().invoke(app, ["serve", "--help"]).stdout)
    assert documented == told == ["/ready?strict=1", "/api/redis/health?strict=1"]
    served = serve()
    assert [served.get(path).status_code for path in documented] == [200, 200]
    served.redis.stop()
    wait_until(lambda: served.get("/ready").json()["status"] == "degraded", 10)
    assert [served.get(path).status_code for path in documented] == [503, 503]
    assert [served.get(path.removesuffix("?strict=1")).status_code for path in documented] == [200, 200]


def test_a_redis_that_hangs_costs_everybody_together_one_time_out(serve: Serve) -> None:
    served = serve()
    served.redis.pause()
    begun = time.monotonic()
    with httpx.Client(base_url=served.url, timeout=20) as client:
        assert client.get("/live").elapsed.total_seconds() < 0.5
        time.sleep(1.1)
        answers = [client.get("/ready") for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - begun < 6
    served.redis.resume()


def test_with_no_tier_left_we_are_not_ready_and_management_says_so(serve: Serve, tmp_path: object) -> None:
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    served = serve(more={"DATABASE_URL": away, "REDIS_PORT": "1"})
    assert served.get("/ready").status_code == 503
    assert served.get("/api/redis/health").json()["status"] == "unhealthy"
    for action in ("cleanup_expired", "get_stats", "get_all_sessions"):
        answer = served.post({"action": action})
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]


# Connections, and the end


def test_a_request_that_trickles_in_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection((HOST, served.port), timeout=30) as connection:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < 25 and connection.send(b"x"):
                time.sleep(0.5)
        except OSError:
            pass
        assert 5 < time.monotonic() - begun < 20


def test_a_body_that_trickles_in_is_answered_408(served: Served) -> None:
    head = (
        f"POST /api/redis/cleanup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with socket.create_connection((HOST, served.port), timeout=30) as connection:
        connection.sendall(head.encode())
        begun = time.monotonic()
        assert b" 408 " in connection.recv(4096)
        assert 3 < time.monotonic() - begun < 15


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_an_orderly_way(number: int, code: int, serve: Serve) -> None:
    served = serve()
    assert served.end(number) == (code, f"serving {served.url}; Ctrl-C ends it\n")


def test_no_secret_and_no_personal_data_in_what_it_says(serve: Serve) -> None:
    served = serve(more={"DEBUG": "redis:*"})
    with CheckoutStore.open(served.settings) as store:
        store.create({"userEmail": "canary@shop.example"}, checkout_id="session-0001")
    for body in ({"action": "get_all_sessions"}, b'{"action": "canary@shop.example"', {"action": "get_stats"}):
        served.post(body)
    served.post({"action": "get_stats"}, token="a-wrong-t0ken")
    _, err = served.end()
    for secret in (TOKEN, "canary@", "a-wrong-t0ken", "session-0001"):
        assert secret not in err


@pytest.mark.needs("curl")
def test_curl_as_in_the_specification(served: Served) -> None:
    line = ["curl", "-s", "-X", "POST", f"{served.url}/api/redis/cleanup", "-H", "Content-Type: application/json"]
    line += ["-H", f"Authorization: Bearer {TOKEN}", "-d", '{"action": "get_stats"}']
    answer = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    assert answer["success"] is True


@pytest.mark.parametrize("origin", ["http://[SECRETVALUE]", "http://[", "null", "http://localhost:1@evil.example"])
def test_a_malformed_origin_is_a_foreign_one(origin: str, served: Served) -> None:
    answer = served.get("/live", headers={"Origin": origin})
    assert (answer.status_code, answer.headers["cache-control"]) == (403, "no-store")


def test_a_client_that_goes_away_and_one_that_sends_nonsense_leave_no_trace(serve: Serve) -> None:
    served = serve()
    half = 'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a'
    for request in (
        f"POST /api/redis/cleanup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{half}",
        "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: localhost\r\nOrigin: http://[SECRETVALUE]\r\n\r\n",
        "nonsense\r\n\r\n",
    ):
        with socket.create_connection((HOST, served.port), timeout=5) as client:
            client.sendall(request.encode())
            client.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                client.recv(1000)
    assert served.get("/live").status_code == 200
    code, err = served.end()
    assert (code, err.count("\n")) == (0, 1), err


@pytest.mark.parametrize("name", ["", "a..b", "http://x", "two words"])
def test_a_name_that_is_none_is_not_allowed(name: str, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("serve", "--allow-host", name)
    assert run.returncode == 2
    assert "--allow-host" in run.stderr


@pytest.mark.parametrize("host", ["a..b", ".x", "x" * 300])
def test_an_address_that_is_none_is_told(host: str, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("serve", "--host", host, env={"CHECKOUT_SERVE_TOKEN": TOKEN})
    assert run.returncode == 78
    assert "Traceback" not in run.stderr

"""One record of another program never ends a batch: the others are answered, and the JSON is strict."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import NoReturn

import pytest

from checkout_cli.commands.doctor.check import CHECKS
from checkout_cli.commands.doctor.run import all_checks
from checkout_cli.commands.incident import incident
from checkout_cli.commands.sessions import export
from checkout_cli.keys import INDEX, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import decoded, encoded
from tests.support.command import Checkoutctl

GOOD = [f"good-session-{number:04}" for number in range(12)]
NO_TEXT = decoded(b"caf\xe9-session-01")
FAR = b'{"createdAt":"0001-01-01T00:00:00+14:00","updatedAt":"9999-12-31T23:59:59-14:00","expiresAt":"+"}'
NO_TYPE_IS_RIGHT = (
    b'{"createdAt":{},"paymentStatus":["x"],"userId":{"a":1},"items":{"a":1},"totalAmount":"NaN","_store":{}}'
)
ODD_BODIES = {
    "digits-of-a-price": b'{"totalAmount":%s}' % (b"9" * 401),
    "too-many-digits-1": b'{"totalAmount":%s}' % (b"9" * 5000),
    "two-large-sums-01": b'{"totalAmount":1e308,"items":[{"quantity":1e308,"unit_price":1e308}]}',
    "two-large-sums-02": b'{"totalAmount":1e308}',
    "no-number-at-all1": b'{"totalAmount":1e999,"items":[{"quantity":1e999}]}',
    "far-moments-00001": FAR,
    "all-of-other-type": NO_TYPE_IS_RIGHT,
    "bidi\u202e-session": '{"notes":"\u202e\x7f\x9b","paymentStatus":"\u202e"}'.encode(),
    NO_TEXT: b'{"totalAmount":1}',
    decoded(b"\xff\xfe\xfd"): b'{"totalAmount":1}',
    "": b"{}",
}
ODD_SCORES = {
    "moment-infinite01": "inf",
    "moment-negative01": "-5",
    "moment-tiny-00001": "0.5",
    "moment-far-000001": "1e300",
}


@pytest.fixture
def hostile(store: CheckoutStore) -> CheckoutStore:
    for place, name in enumerate(GOOD):
        store.create({"totalAmount": place, "userId": "u-1"}, checkout_id=name)
    soon = store.clock.wall() + 600_000
    for name in GOOD[:6]:  # at both ends are more of ours, else the whole index would be another program's
        store.redis.ask(("ZADD", INDEX, soon - 1, name))
    for name, body in ODD_BODIES.items():
        key = encoded(session_key(name))
        store.redis.ask_all(("SET", key, body, "PX", 600_000), ("ZADD", INDEX, soon, encoded(name)))
    for name, score in ODD_SCORES.items():
        value = b'{"totalAmount":1}'
        store.redis.ask_all(("SET", session_key(name), value, "PX", 600_000), ("ZADD", INDEX, score, name))
    store.redis.ask_all(
        ("SADD", "checkout:pending", encoded(NO_TEXT), b"\xff"),
        ("SET", b"checkout:lock:\xff", b"\xff"),
        ("SET", b"checkout:job:cleanup", b"\xff"),
        ("HSET", b"user:session:\xff", b"\xff", b"\xff"),
        ("HSET", "user:session:u-1", "lastActivity", "9" * 401, b"\xff", b"\xff"),
        ("SET", b"delivery:cache:\xff:1", b'{"charge":1e999}'),
        ("SET", b"coupon:cache:\xff", b'{"discount":%s}' % (b"9" * 401)),
        ("HSET", "checkout:stats", b"\xff", b"\xff", "created", "9" * 401, "x", "inf"),
        ("HSET", f"stats:minute:{store.clock.wall() // 60_000}", "created", "9" * 401, "updated", "inf"),
        ("SET", b"\xff\xfe", b"x"),
    )
    return store


def _refuse(name: str) -> NoReturn:
    raise AssertionError(f"{name} is no JSON")


def strict(text: str) -> list[object]:
    """Documents on stdout, as a program reads them that insists on JSON."""
    try:
        return [json.loads(text, parse_constant=_refuse)]
    except ValueError:
        return [json.loads(line, parse_constant=_refuse) for line in text.splitlines()]


OF_ALL = [
    *(f"sessions list --sort {order} --json" for order in ("newest", "oldest", "expires", "total", "status")),
    *(f"sessions list --output {shape}" for shape in ("table", "ndjson", "csv", "ids")),
    "sessions list --status pending --json --reveal",
    "sessions list --user u-1 --json",
    "sessions export",
    "sessions export --reveal",
    "sessions export --output csv",
]
OTHERS = [
    "sessions list --expiring-within 1d --older-than 1m --json",
    "sessions index check --json",
    "sessions index repair --dry-run --json",
    "sessions why u-1 --user --json",
    "sessions delete --status pending --dry-run --json",
    "doctor --json",
    "incident",
    "health --json",
    "info --json",
    "stats --json",
    "sync --dry-run --json",
    "sync --json",
    "migrate plan --json",
    "migrate verify --json",
    "cleanup --expired --dry-run --json",
    "cleanup --index --json",
    "cleanup --orphans --dry-run --json",
    "cleanup --expired --json",
    "memory show --json",
    "memory tune --json",
    "memory families --json",
    "cache stats --json",
    "cache delivery list --json",
    "cache coupon list --json",
    "users list --json",
    "users show u-1 --json",
    "top --once --json",
    "slowlog --json",
]


@pytest.mark.parametrize("words", [*OF_ALL, *OTHERS])
def test_a_batch_goes_on(hostile: CheckoutStore, checkoutctl: Checkoutctl, words: str) -> None:
    done = checkoutctl(*words.split())
    assert done.code in {0, 1}, done
    assert "mistake of this program" not in done.out + done.err
    if "--json" in words or "ndjson" in words:
        strict(done.out)
    if words in OF_ALL:
        assert all(name in done.out for name in GOOD)


@pytest.mark.parametrize("words", ["sessions show --reveal", "sessions show", "sessions trace", "sessions why"])
def test_each_is_shown(hostile: CheckoutStore, checkoutctl: Checkoutctl, words: str) -> None:
    for name in filter(None, (*ODD_BODIES, *ODD_SCORES)):
        done = checkoutctl(*words.split(), name, "--json")
        assert done.code in {0, 1, 3}, done
        strict(done.out)
        assert checkoutctl(*words.split(), name).code == done.code


def test_a_file_for_an_incident_has_every_part(
    hostile: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    assert checkoutctl("incident", "--out", str(tmp_path / "file.json")).code == 0
    text = (tmp_path / "file.json").read_text()
    strict(text)
    assert "mistake of this program" not in text


def test_sums_stay_numbers(hostile: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    (found,) = checkoutctl("sessions", "delete", "--status", "pending", "--dry-run", "--json").documents
    assert found["basketValue"] == sum(range(12)) + 1 + 1 + 4


@pytest.mark.parametrize("name", ODD_SCORES)
def test_an_export_continues_behind_any_moment(hostile: CheckoutStore, name: str) -> None:
    def ids(cursor: str | None = None) -> dict[str, str]:
        pages = export.export(hostile, cursor=cursor, page_size=1, tell=lambda _: None)
        return {session.checkout_id: page.cursor for page in pages for session in page.sessions}

    whole = ids()
    assert {*GOOD, *ODD_SCORES} <= set(whole)
    rest = list(whole)[list(whole).index(name) + 1 :]
    assert list(ids(whole[name])) == rest


def test_what_is_written_meanwhile_is_sent_once_though_an_entry_is_infinite(hostile: CheckoutStore) -> None:
    sent: list[str] = []
    for page in export.export(hostile, page_size=1, tell=lambda _: None):
        sent += [session.checkout_id for session in page.sessions]
        if sent[-1:] == GOOD[:1]:
            hostile.redis.ask(("ZADD", INDEX, hostile.clock.wall() + 4_000_000, GOOD[0]))
    assert sent.count(GOOD[0]) == 1


def _fails(*_: object, **__: object) -> NoReturn:
    raise OverflowError("4111111111111111")


def test_a_check_that_fails_is_a_finding_and_the_others_are_made(
    store: CheckoutStore, checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = all_checks()["card-data"]
    monkeypatch.setitem(CHECKS, check.id, replace(check, run=wraps(check.run)(_fails)))
    done = checkoutctl("doctor", "--json")
    assert done.code == 1
    found = {each["id"]: each for each in done.documents[0]["checks"]}
    assert found["card-data"]["status"] == "crit"
    assert "OverflowError at test_hostile_data.py:" in found["card-data"]["evidence"]
    assert len(found) == len(all_checks())
    assert "4111111111111111" not in done.out + done.err


def test_a_part_that_fails_is_said_and_the_others_are_gathered(
    store: CheckoutStore, checkoutctl: Checkoutctl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(incident, "slow_log", _fails)
    assert checkoutctl("incident", "--out", str(tmp_path / "file.json")).code == 0
    text = (tmp_path / "file.json").read_text()
    assert "OverflowError at test_hostile_data.py:" in text
    assert '"latency"' in text
    assert "4111111111111111" not in text

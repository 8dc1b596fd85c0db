from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import msgspec
import pytest

from checkout_cli.commands.sessions import view as session_view
from checkout_cli.commands.sessions.sessions import Written
from checkout_cli.commands.sessions.view import expiry, show_list, show_session
from checkout_cli.errors import CheckoutError
from checkout_cli.session import Acknowledgement, Durability, Session, TierName
from checkout_cli.store.records import Problem, Sighting
from checkout_cli.terminal.short_ids import shortened
from checkout_cli.units import span

NOW = 1_700_000_000_000
ID = "4645c59d-c428-4017-af90-a43ee2787c34"
HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e[red][/][link=file:///]\r\n"

Captured = pytest.CaptureFixture[str]


def seen(checkout_id: str = ID, *, version: int = 3, expires_at: int | None = NOW + 90_000, **fields: Any) -> Sighting:
    whole = {"paymentStatus": "paid", "totalAmount": 12.5, "createdAt": "2023-11-14T22:09:20.000Z", "items": [{}, {}]}
    session = Session(checkout_id, whole | fields, version, TierName.REDIS)
    return Sighting(checkout_id, TierName.REDIS, session, expires_at, 900)


def corrupt(checkout_id: str = "broken-00001") -> Sighting:
    return Sighting(checkout_id, TierName.REDIS, None, None, 7, Problem.CORRUPT, "not a JSON object: 7 bytes")


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(-5, "0s"), (999, "0s"), (59_999, "59s"), (60_000, "1m"), (29 * 60_000 + 59_000, "29m"), (3_600_000, "1h"),
     (86_399_999, "23h"), (2 * 86_400_000, "2d")],
)  # fmt: skip
def test_a_span_is_shown_in_its_largest_whole_unit(milliseconds: int, shown: str) -> None:
    assert span(milliseconds) == shown


def test_an_expiry_is_a_span_or_expired_or_never() -> None:
    assert expiry(seen(), NOW) == "1m"
    assert expiry(seen(expires_at=NOW), NOW) == "expired"
    assert expiry(seen(expires_at=None), NOW) == "never"


def test_the_list_in_a_pipe_is_plain_and_untruncated(capsys: Captured) -> None:
    show_list([seen(userId="user-0042"), corrupt()], "table", now=NOW, limit=50)

    assert capsys.readouterr().out.splitlines() == [
        "id                                    status   items  total  user   age  expires in  tier   note",
        f"{ID}  paid         2  12.50  user…   4m          1m  redis",
        f"broken-00001                          corrupt{'never':>38}  redis  not a JSON object: 7 bytes",
    ]


def external(version: int, **fields: Any) -> Sighting:
    sighting = seen(version=version, **fields)
    assert sighting.session is not None
    return msgspec.structs.replace(sighting, session=msgspec.structs.replace(sighting.session, external=True))


@pytest.mark.parametrize(("version", "told"), [(0, "none: an external writer's"), (3, "3, by an external writer")])
def test_what_an_external_writer_wrote_last_is_marked(capsys: Captured, version: int, told: str) -> None:
    show_list([external(version)], "table", now=NOW, limit=50)
    assert capsys.readouterr().out.splitlines()[1].endswith("redis  external")
    show_session(external(version), NOW, as_json=False)
    assert told in capsys.readouterr().out
    assert session_view.summary(external(version), NOW)["external"] is True
    show_list([seen(version=3)], "table", now=NOW, limit=50)
    assert "external" not in capsys.readouterr().out


def test_the_note_column_is_left_out_where_nobody_needs_it(capsys: Captured) -> None:
    show_list([seen()], "table", now=NOW, limit=50)

    assert "note" not in capsys.readouterr().out


def test_json_has_every_column_by_name(capsys: Captured) -> None:
    show_list([seen(), corrupt()], "json", now=NOW, limit=50)

    document = json.loads(capsys.readouterr().out)
    assert document["schemaVersion"] == 1
    first, second = document["sessions"]
    assert first == {
        "checkoutId": ID,
        "status": "paid",
        "items": 2,
        "total": 12.5,
        "userId": None,
        "createdAt": "2023-11-14T22:09:20.000Z",
        "ageSeconds": 240,
        "expiresAt": "2023-11-14T22:14:50.000Z",
        "expiresInSeconds": 90,
        "tier": "redis",
        "version": 3,
        "external": False,
        "size": 900,
        "problem": None,
        "detail": None,
        "dirty": 0,
    }
    assert (second["status"], second["problem"], second["expiresAt"]) == (None, "corrupt", None)


def test_ndjson_is_written_as_the_sessions_come(capsys: Captured) -> None:
    def sightings() -> Any:
        yield seen()
        assert json.loads(capsys.readouterr().out)["checkoutId"] == ID  # before the second is fetched
        yield corrupt()

    show_list(sightings(), "ndjson", now=NOW, limit=50)

    assert json.loads(capsys.readouterr().out)["problem"] == "corrupt"


def test_csv_has_the_columns_of_the_json_and_no_formulas(capsys: Captured) -> None:
    show_list([seen("=cmd()-00001"), corrupt()], "csv", now=NOW, limit=50)

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["checkoutId"] == "'=cmd()-00001"
    assert (rows[0]["total"], rows[0]["expiresInSeconds"], rows[1]["problem"]) == ("12.5", "90", "corrupt")


def test_ids_are_one_a_line(capsys: Captured) -> None:
    show_list([seen(), corrupt("a\nb")], "ids", now=NOW, limit=50)

    assert capsys.readouterr().out == f"{ID}\na\\nb\n"


@pytest.mark.parametrize(
    ("output", "data"), [("table", "id "), ("json", "sessions"), ("ndjson", ""), ("csv", "checkoutId"), ("ids", "")]
)
def test_no_sessions_is_said_on_stderr_and_is_an_empty_list_on_stdout(output: str, data: str, capsys: Captured) -> None:
    show_list([], output, now=NOW, limit=50)

    captured = capsys.readouterr()
    assert captured.err == "no sessions\n"
    assert data in captured.out
    assert captured.out.count("\n") <= 6


def test_a_list_that_may_go_on_says_so(capsys: Captured) -> None:
    show_list([seen()], "ids", now=NOW, limit=1)

    assert capsys.readouterr().err == "the first 1; there may be more: --limit\n"


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv", "ids", "show", "show json"])
@pytest.mark.parametrize("reveal", [False, True])
def test_nothing_that_a_stranger_wrote_reaches_the_terminal_raw(output: str, reveal: bool, capsys: Captured) -> None:
    fields = {
        "paymentStatus": HOSTILE,
        "items": [{"product_name": HOSTILE, HOSTILE: HOSTILE}],
        HOSTILE: {HOSTILE: HOSTILE},
        "userId": HOSTILE,
    }
    sighting = seen(HOSTILE, **fields)
    if output.startswith("show"):
        show_session(sighting, NOW, as_json=output.endswith("json"), reveal=reveal)
    else:
        show_list([sighting], output, now=NOW, limit=50, reveal=reveal)

    printed = capsys.readouterr().out.replace("\r\n", "\n").replace("\n", "")
    assert printed.isprintable()
    assert "\u202e" not in printed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Terminal:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal)
    return terminal


def test_on_a_narrow_terminal_ids_are_cut_to_beginnings_that_tell_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 80)

    show_list([seen("checkout-2024-000001"), seen("checkout-2024-000112"), seen(ID)], "table", now=NOW, limit=50)

    printed = terminal.getvalue()
    assert ID not in printed
    assert "checkout-2024-0000 " in printed
    assert "checkout-2024-0001 " in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("columns", range(72, 130))
def test_no_id_is_folded_where_cutting_it_helps(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, columns)
    ids = [f"{number:08x}-c428-4017-af90-a43ee2787c34" for number in range(3)]
    show_list([seen(checkout_id) for checkout_id in ids], "table", now=NOW, limit=50)
    lines = [line for line in terminal.getvalue().splitlines() if line.strip()]
    assert len(lines) == 2 + len(ids)


def test_on_a_wide_terminal_ids_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 160)

    show_list([seen()], "table", now=NOW, limit=50)

    assert ID in terminal.getvalue()


def test_markup_in_data_is_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch, 160)

    show_session(seen(couponCode="[red]x[/red][/]"), NOW, as_json=False)

    assert "[red]x[/red][/]" in terminal.getvalue()


def test_shortened_ids_have_at_least_eight_characters() -> None:
    assert shortened(["abcdefghijkl", "zzzzzzzzzzzz"]) == ["abcdefgh", "zzzzzzzz"]
    assert shortened(["same-id-1", "same-id-1"]) == ["same-id-", "same-id-"]
    assert shortened(["same-id-1", "same-id-12"]) == ["same-id-1", "same-id-12"]
    assert shortened([]) == []


def test_a_session_is_shown_whole_with_its_items_as_a_table(capsys: Captured) -> None:
    items = [{"product_id": "rye", "quantity": 2, "unit_price": 5.4, "customization_options": {"text": "For Noor"}}]
    show_session(seen(items=items, contactInfo={"name": "Ada"}), NOW, as_json=False)

    facts, table = capsys.readouterr().out.split("\n\n")
    rows = [line.split(maxsplit=1) for line in facts.splitlines()]
    assert ["ID", ID] in rows
    assert ["VERSION", "3"] in rows
    assert ["SIZE", "900 bytes"] in rows
    assert ["contactInfo.name", "********"] in rows
    assert table.splitlines() == [
        "product  quantity  unit price  other",
        "rye             2        5.40  customization_options.text=********",
    ]


@pytest.mark.parametrize("items", ["none", [1, 2], {"a": 1}, [], None])
def test_items_that_are_no_list_of_objects_are_no_table(items: object, capsys: Captured) -> None:
    show_session(seen(items=items), NOW, as_json=False)

    assert "\n\n" not in capsys.readouterr().out


def test_a_value_that_is_no_session_is_shown_as_far_as_it_can_be(capsys: Captured) -> None:
    show_session(corrupt(), NOW, as_json=False)

    printed = capsys.readouterr().out
    assert "corrupt: not a JSON object: 7 bytes" in printed
    assert "VERSION" not in printed


def test_a_session_that_could_not_be_compared_with_the_database_says_so(capsys: Captured) -> None:
    session = Session(ID, {}, 3, TierName.REDIS, verified=False)
    show_session(Sighting(ID, TierName.REDIS, session, None, 2), NOW, as_json=False)

    assert "redis, not verified" in capsys.readouterr().out


def written(*, degraded: bool) -> Written:
    tier = TierName.DATABASE if degraded else TierName.REDIS
    return Written(
        Acknowledgement(Session(ID, {}, 2, tier), Durability.DATABASE, published=not degraded), degraded=degraded
    )


def test_a_write_prints_the_id_alone_so_that_it_can_be_captured(capsys: Captured) -> None:
    session_view.show_written(written(degraded=False), what="created", as_json=False)

    captured = capsys.readouterr()
    assert captured.out == f"{ID}\n"
    assert captured.err == "created: version 2, durability database, published to Redis: yes\n"


def test_a_degraded_write_says_so_in_words_and_in_json(capsys: Captured) -> None:
    session_view.show_written(written(degraded=True), what="created", as_json=True)

    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "schemaVersion": 1,
        "checkoutId": ID,
        "version": 2,
        "tier": "database",
        "durability": "database",
        "published": False,
        "degraded": True,
    }
    assert captured.err.startswith("warning: ")


def test_a_description_names_what_would_be_deleted_without_personal_data() -> None:
    assert (
        session_view.describe(seen(userId="user-0042"), NOW)
        == f"session {ID}: paid, 2 items, total 12.50, in redis, expires in 1m"
    )
    assert "corrupt" in session_view.describe(corrupt(), NOW)


def test_errors_in_a_stream_are_not_swallowed(capsys: Captured) -> None:
    def breaking() -> Any:
        yield seen()
        raise CheckoutError("Redis has gone")

    with pytest.raises(CheckoutError):
        show_list(breaking(), "ids", now=NOW, limit=50)
    assert capsys.readouterr().out == f"{ID}\n"


def test_a_session_that_waits_for_the_database_is_told_from_an_external_one(capsys: Captured) -> None:
    session = Session(ID, {}, 1, TierName.REDIS, dirty=1)
    waiting = Sighting(ID, TierName.REDIS, session, NOW + 90_000, 9)
    assert not session_view.summary(waiting, NOW)["external"]
    show_list([waiting], "table", now=NOW, limit=50)
    assert capsys.readouterr().out.splitlines()[1].endswith("redis  waits for the database")
    show_session(waiting, NOW, as_json=False)
    assert "1, and 1 write for the database" in capsys.readouterr().out
    kept = Sighting(ID, TierName.MEMORY, Session(ID, {}, 0, TierName.MEMORY), None, 9)
    assert not session_view.summary(kept, NOW)["external"]


@pytest.mark.parametrize(
    ("durability", "said"), [(Durability.REDIS, "Redis alone has it"), (Durability.MEMORY, "only this process has it")]
)
def test_a_write_that_is_less_durable_says_so(capsys: Captured, durability: Durability, said: str) -> None:
    session = Session(ID, {}, 0, TierName.REDIS)
    session_view.show_written(
        Written(Acknowledgement(session, durability, published=True), degraded=True), what="created", as_json=False
    )
    errors = capsys.readouterr().err
    assert f"created: no version yet, durability {durability}" in errors
    assert said in errors

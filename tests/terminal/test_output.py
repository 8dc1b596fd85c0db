from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from checkout_cli.errors import CheckoutError, InvalidInput, Locked, RedisUnavailable
from checkout_cli.terminal import csv_writer, output
from checkout_cli.terminal.output import Column

HOSTILE = ["\x1b]0;x\x07", "\x9b2J", "\u202edelecnac", "[red]", "[/]", "[link=file:///etc/passwd]x", "a\r\nb", "日本語"]


class Terminal(io.StringIO):
    """Somebody looks at what is written here."""

    def isatty(self) -> bool:
        return True


class Failing(io.StringIO):
    """Nothing can be written here."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


Table = Callable[..., str]


@pytest.fixture
def table_on_terminal(monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table on a colourful terminal of 40 columns; with a title, one of Rich. Returns what has come there."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def show(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str | None = None) -> str:
        with contextlib.redirect_stdout(Terminal()) as stream:
            if title is None:
                output.write_table(columns, rows)
            else:
                output.show(output.rich_table(columns, rows, title))
        return stream.getvalue()

    return show


@pytest.fixture(autouse=True)
def _color_as_it_was() -> Iterator[None]:
    yield
    output.set_color(True)


def test_on_a_narrow_terminal_extra_columns_are_left_out_from_the_last_until_the_rest_fits(
    table_on_terminal: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = output.columns_of("id", "-first", "#sum", "-second", "-third")
    shown = table_on_terminal(columns, [["0123456789", "f" * 8, "5", "s" * 9, "t" * 6]])
    assert "f" * 8 in shown
    assert "t" * 6 not in shown
    assert shown.count("\n") == 5, "no cell is folded"
    assert capsys.readouterr().err == "hidden on this narrow terminal: second, third\n"


class TestPlainTable:
    def test_it_is_aligned_and_has_no_border(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.write_table([Column("id"), Column("total", number=True)], [["a", 1], ["long", 250.1], [None, None]])
        assert capsys.readouterr().out == "id    total\na         1\nlong  250.1\n\n"

    def test_it_is_never_cut_however_narrow_the_terminal(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "10")
        output.write_table([Column("id"), Column("note")], [["x" * 500, "y" * 500]])
        header, row = capsys.readouterr().out.splitlines()
        assert header.split() == ["id", "note"]
        assert row == "x" * 500 + "  " + "y" * 500

    def test_no_rows_are_a_header(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.write_table([Column("id"), Column("note")], [])
        assert capsys.readouterr().out == "id  note\n"

    @pytest.mark.parametrize("text", HOSTILE)
    def test_a_hostile_cell_is_one_harmless_line(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        output.write_table([Column("id")], [[text]])
        lines = capsys.readouterr().out.split("\n")
        assert len(lines) == 3
        assert lines[1].isprintable()

    def test_colours_forced_on_do_not_reach_a_pipe(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        output.write_table([Column("id")], [["a"]])
        assert capsys.readouterr().out == "id\na\n"


class TestTerminalTable:
    def test_a_terminal_gets_a_table_with_its_title(self, table_on_terminal: Table) -> None:
        shown = table_on_terminal([Column("id"), Column("total", number=True)], [["a", "1"]], "Sessions")
        assert "\x1b[" in shown  # bold, italic
        assert "Sessions" in shown
        assert "─" in shown

    @pytest.mark.parametrize("text", HOSTILE)
    def test_a_hostile_cell_or_title_is_harmless(self, text: str, table_on_terminal: Table) -> None:
        output.set_color(False)
        lines = table_on_terminal([Column("id")], [[text]], text).split("\n")
        assert all(line.isprintable() for line in lines)
        assert [line.strip() for line in lines].count(output.safe(text)) == 2

    def test_a_long_cell_is_folded_and_not_cut(self, table_on_terminal: Table) -> None:
        shown = table_on_terminal([Column("id"), Column("note")], [["a", "x" * 200]])
        assert shown.count("x") == 200
        assert "…" not in shown

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_the_environment_switches_every_escape_sequence_off(
        self, name: str, value: str, table_on_terminal: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        assert "\x1b" not in table_on_terminal([Column("id")], [["a"]], "t")

    def test_an_empty_no_color_is_none(self, table_on_terminal: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "")
        assert "\x1b" in table_on_terminal([Column("id")], [["a"]], "t")

    def test_the_option_switches_every_escape_sequence_off(self, table_on_terminal: Table) -> None:
        output.set_color(False)
        assert "\x1b" not in table_on_terminal([Column("id")], [["a"]], "t")


class TestJson:
    def test_it_is_one_document_with_the_schema_version_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.write_json({"name": "Zoë \x1b\u202e\ud800", "none": None})
        text = capsys.readouterr().out
        assert text.isascii()
        assert "\x1b" not in text
        assert next(iter(json.loads(text).items())) == ("schemaVersion", 1)
        assert json.loads(text)["name"] == "Zoë \x1b\u202e\ud800"  # exact, for machines

    def test_ndjson_is_one_line_each(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.write_ndjson([{"a": "x\ny"}, {"a": 2}])
        lines = capsys.readouterr().out.splitlines()
        assert [json.loads(line) for line in lines] == [{"schemaVersion": 1, "a": "x\ny"}, {"schemaVersion": 1, "a": 2}]

    def test_ndjson_is_written_as_it_comes(self, capsys: pytest.CaptureFixture[str]) -> None:
        seen: list[int] = []

        def documents() -> Iterator[dict[str, Any]]:
            for number in range(3):
                yield {"number": number}
                seen.append(len(capsys.readouterr().out.splitlines()))

        output.write_ndjson(documents())
        assert seen == [1, 1, 1]


class TestCsv:
    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
    def test_a_formula_becomes_text(self, start: str) -> None:
        assert csv_writer.csv_cell(f'{start}HYPERLINK("http://x")').startswith(f"'{start}")

    @pytest.mark.parametrize("start", ["\t=", "\r=", "\0=", "\n="])
    def test_a_formula_behind_a_control_character_becomes_text(self, start: str) -> None:
        assert csv_writer.csv_cell(f"{start}1+1").startswith("\\")

    @pytest.mark.parametrize(
        ("value", "cell"), [(-5, "-5"), (-1.5, "-1.5"), (None, ""), (True, "true"), ("a=b", "a=b")]
    )
    def test_numbers_stay_numbers(self, value: object, cell: str) -> None:
        assert csv_writer.csv_cell(value) == cell

    def test_no_cell_breaks_its_row(self, capsys: pytest.CaptureFixture[str]) -> None:
        cells = ['say "hi"', "a,b", "two\r\nlines", "\x1b[31m", "", "é"]
        csv_writer.write_csv(["a", "b", "c", "d", "e", "f"], iter([cells]))
        text = capsys.readouterr().out
        assert text.count("\r\n") == 2
        assert "\x1b" not in text
        _, row = csv.reader(io.StringIO(text, newline=""))
        assert row == ['say "hi"', "a,b", "two\\r\\nlines", "\\x1b[31m", "", "é"]

    def test_rows_are_written_as_they_come(self, capsys: pytest.CaptureFixture[str]) -> None:
        def rows() -> Iterator[list[int]]:
            yield [1]
            assert capsys.readouterr().out == "n\r\n1\r\n"
            yield [2]

        csv_writer.write_csv(["n"], rows())
        assert capsys.readouterr().out == "2\r\n"


class TestStreamsThatFail:
    def test_a_reader_that_has_gone_ends_the_process_quietly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdout", Failing(BrokenPipeError()))  # and without a file descriptor
        for write in (lambda: output.write("x"), lambda: output.write_json({}), lambda: output.show("x")):
            with pytest.raises(SystemExit) as caught:
                write()
            assert caught.value.code == 0

    def test_a_full_disk_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdout", Failing(OSError(28, "No space left on device")))
        with pytest.raises(CheckoutError, match="No space left on device"):
            output.write("x")

    def test_narration_that_nobody_can_hear_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stderr", Failing(OSError(28, "No space left on device")))
        output.narrate("x")
        closed = io.StringIO()
        closed.close()
        monkeypatch.setattr(sys, "stderr", closed)
        output.narrate("x")

    def test_a_closed_stream_is_no_terminal(self) -> None:
        closed = io.StringIO()
        closed.close()
        assert not output.is_terminal(closed)

    def test_what_is_buffered_for_a_closed_pipe_is_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, writing = os.pipe()
        stream = os.fdopen(writing, "w", encoding="utf-8")
        stream.write("buffered")
        os.close(reading)
        monkeypatch.setattr(sys, "stdout", stream)
        output.drop_stdout()
        stream.close()  # would raise BrokenPipeError


class TestReports:
    def test_an_error_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.report(RedisUnavailable("Redis at localhost:6379 refuses\nconnections \x1b[2J"))
        out, err = capsys.readouterr()
        assert out == ""
        assert err == "error: Redis at localhost:6379 refuses\\nconnections \\x1b[2J\n"

    def test_advice_that_is_no_command_is_a_hint(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.report(InvalidInput("bad", hint="leave it out"))
        assert capsys.readouterr().err == "error: bad\n  hint: leave it out\n"

    def test_a_run_has_one_next_step_with_its_own_options(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.begin_run("-C /shop", "--redis-port 7")
        output.show_next("checkoutctl health")
        output.show_next("checkoutctl doctor")
        assert capsys.readouterr().err == "next: checkoutctl -C /shop --redis-port 7 health\n"
        output.begin_run("", "")
        output.show_next("look at its log")
        assert capsys.readouterr().err == "next: checkoutctl doctor\n"
        output.begin_run("", "")
        output.leave_next_out()
        output.show_next("checkoutctl health")
        assert capsys.readouterr().err == ""
        output.begin_run("", "")

    def test_without_a_hint_there_is_no_second_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.report(InvalidInput("bad"))
        assert capsys.readouterr().err == "error: bad\n"

    def test_a_lock_is_no_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.report(Locked("skipped: locked by somebody"))
        assert capsys.readouterr().err == "skipped: locked by somebody\n"

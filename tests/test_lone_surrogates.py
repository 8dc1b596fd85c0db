"""What JavaScript's ``JSON.stringify`` writes is read, and survives our writes, also half of a surrogate pair."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkout_cli.errors import InvalidInput, SessionCorrupt
from checkout_cli.lone_surrogates import replaced
from checkout_cli.session import STORE_FIELD, check_fields, decode, is_session, with_changes, without_header

HALF = st.integers(0xD800, 0xDFFF).map(chr)
TRICKY = st.sampled_from(["\\", '"', "\\u", "\\ud83d", "ud83d", "\ufffd", "\U0001f382", "\x00", "\n", *"{:,]"])


def units_joined(text: str) -> str:
    """The text as JavaScript has it: two halves that meet are a pair."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


TEXT = st.lists(HALF | TRICKY | st.characters(exclude_categories=["Cs"]), max_size=6).map("".join).map(units_joined)
NAMES = TEXT.filter(lambda name: name != STORE_FIELD)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=5)


def stringified(value: Any) -> bytes:
    """What ``JSON.stringify`` writes: everything as it is, but halves as lower-case escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def readable(value: Any) -> Any:
    """The reference: each half that is left in names and texts is U+FFFD, and of equal names the last one counts."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
    if isinstance(value, dict):
        return {readable(name): readable(inner) for name, inner in value.items()}
    return [readable(inner) for inner in value] if isinstance(value, list) else value


def _last_of_equal_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {readable(name): inner for name, inner in pairs}


@st.composite
def spelled(draw: st.DrawFn, value: Any) -> str:
    """Any other spelling of a JSON value: blanks between, escapes where none is needed, names that come twice."""
    blank = draw(st.sampled_from(["", " ", "\n\t", "\r "]))
    if isinstance(value, str):
        return blank + '"' + "".join(draw(_character(each)) for each in value) + '"' + blank
    if isinstance(value, list):
        return blank + "[" + ",".join(draw(spelled(each)) for each in value) + (blank or "") + "]"
    if isinstance(value, dict):
        pairs = [(name, draw(spelled(inner))) for name, inner in value.items()]
        if pairs and draw(st.booleans()):
            pairs.insert(0, (draw(st.sampled_from(pairs))[0], draw(st.sampled_from(["1", '"\\ud83d"', '{"":[]}']))))
        return blank + "{" + ",".join(f"{draw(spelled(name))}:{inner}" for name, inner in pairs) + blank + "}"
    return blank + json.dumps(value) + blank


def _character(character: str) -> st.SearchStrategy[str]:
    units = character.encode("utf-16-be", "surrogatepass")
    escaped = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    escapes = [escaped, escaped.upper().replace("\\U", "\\u")]
    if not "\ud800" <= character <= "\udfff":
        escapes.append(json.dumps(character, ensure_ascii=False)[1:-1])
    return st.sampled_from(escapes)


class TestReading:
    def test_the_end_of_a_text_that_was_cut(self) -> None:
        assert decode(rb'{"notes":"cake \ud83d"}') == {"notes": "cake \ufffd"}
        assert is_session(rb'{"\udf82":{"\ud83d":["\ud83d"]}}')

    @given(FIELDS)
    def test_what_javascript_writes_is_read(self, fields: dict[str, Any]) -> None:
        found = decode(stringified(fields))
        assert found == readable(fields)
        json.dumps(found, ensure_ascii=False).encode()  # any encoder takes it
        check_fields(found)

    @given(st.data(), FIELDS)
    def test_and_what_anybody_else_writes(self, data: st.DataObject, fields: dict[str, Any]) -> None:
        body = data.draw(spelled(fields)).encode()
        assert decode(body) == readable(json.loads(body, object_pairs_hook=_last_of_equal_names))

    @pytest.mark.parametrize(
        ("escaped", "expected"),
        [
            (r"\ud83d\ude00", "\U0001f600"),
            (r"\uD83D\uDE00", "\U0001f600"),
            (r"\ude00\ud83d", "\ufffd\ufffd"),
            (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
            (r"\ud83d\u0041", "\ufffdA"),
            (r"\ud83d\n\ude00", "\ufffd\n\ufffd"),
            (r"\\ud83d", "\\ud83d"),
            (r"\\\ud83d", "\\\ufffd"),
            (r"\\\\ud83d\ud83d", "\\\\ud83d\ufffd"),
            (r"\ud7ff\ue000", "\ud7ff\ue000"),
        ],
    )
    def test_only_halves_are_replaced(self, escaped: str, expected: str) -> None:
        body = f'{{"a":"{escaped}","{escaped}":"\\ud83d"}}'.encode()
        assert decode(body) == {"a": expected, expected: "\ufffd"}

    FRAGMENTS = st.lists(
        st.sampled_from(
            [
                *(rb"\ud83d", rb"\ude00", rb"\uD83", b"\\", b"ud83d", b'"', b"{", b"}", b"[", b"]", b":", b",", b" "),
                *(b"a", b"1", b"0", b"NaN", b"-Infinity", b"true", b"\n", b"\x00", b"\xff", b"\xed\xa0\xbd"),
            ]
        ),
        max_size=12,
    ).map(b"".join)

    @settings(max_examples=500)
    @given(FRAGMENTS, st.sampled_from([(b"", b""), (b'{"a":"', b'"}'), (b'{"', b'":1}'), (b'{"\\ud83d":', b"}")]))
    def test_anything_else_is_judged_as_strictly_as_before(self, inner: bytes, around: tuple[bytes, bytes]) -> None:
        body = inner.join(around)
        assert is_session(body) == isinstance(_strictly(body), dict)
        for change in (without_header, _with_a_change):
            try:
                change(body)
            except SessionCorrupt:
                assert not is_session(body)

    @pytest.mark.parametrize(
        "broken",
        [b"NaN", b"-Infinity", b"1e400", b"01", b'"\xff"', b'"\xed\xa0\xbd"', b'"\n"', rb'"\x"', b"", b"[" * 100_000],
        ids=lambda broken: repr(broken[:12]),
    )
    def test_a_half_excuses_nothing(self, broken: bytes) -> None:
        for body in (rb'{"a":"\ud83d","b":%s}' % broken, rb'{"b":%s,"\ud83d":1}' % broken):
            with pytest.raises(SessionCorrupt, match=f"not a JSON object: {len(body)} bytes"):
                decode(body)

    @pytest.mark.parametrize("body", [rb'"\ud83d"', rb'["\ud83d"]', rb'{"a":"\ud83d"}x', rb'{"a":"\ud83d"', rb"\ud83d"])
    def test_what_is_no_object_stays_corrupt(self, body: bytes) -> None:
        for read in (decode, without_header, _with_a_change):
            with pytest.raises(SessionCorrupt):
                read(body)

    def test_nesting_has_the_same_limit(self) -> None:
        for depth in (500, 100_000):
            deep = [b'{"a":%s%s%s}' % (b"[" * depth, text, b"]" * depth) for text in (b'"x"', rb'"\ud83d"')]
            assert [is_session(body) for body in deep] == [depth == 500] * 2

    def test_a_large_body_full_of_escapes_is_bounded_work(self) -> None:
        halves = rb'{"a":"%s"}' % (rb"\\\ud83d\"" * 50_000)
        assert decode(halves) == {"a": '\\\ufffd"' * 50_000}
        assert with_changes(rb'{"\ud83d":"%s"}' % (rb"\\" * 50_000), {"b": 1}).endswith(b',"b":1}')


class TestWriting:
    @given(FIELDS, st.dictionaries(st.sampled_from(["notes", "paymentStatus", ""]), st.integers(0, 9)))
    def test_every_other_field_stays_byte_for_byte(self, fields: dict[str, Any], changes: dict[str, Any]) -> None:
        assert with_changes(stringified(fields), changes) == stringified({**fields, **changes})

    @given(st.data(), FIELDS)
    def test_in_any_spelling_the_values_do_and_the_names_stay_the_same(
        self, data: st.DataObject, fields: dict[str, Any]
    ) -> None:
        body = data.draw(spelled(fields)).encode()
        changed = with_changes(body, {"new": 1})
        assert json.loads(changed) == {**json.loads(body), "new": 1}
        assert with_changes(changed, {"new": 1}) == changed

    @given(FIELDS)
    def test_handing_back_what_was_read_changes_nothing(self, fields: dict[str, Any]) -> None:
        body = stringified(fields)
        assert with_changes(body, decode(body)) == body

    def test_a_field_that_changes_is_written_as_it_was_given(self) -> None:
        body = rb'{"a":"\ud83d","b":true,"c":"\ude00"}'
        assert with_changes(body, {"a": "\ufffd!", "b": 1, "c": "\ufffd"}) == rb'{"a":"%s!","b":1,"c":"\ude00"}' % (
            "\ufffd".encode()
        )

    @given(FIELDS, TEXT)
    def test_only_the_stores_own_field_is_taken_out(self, fields: dict[str, Any], text: str) -> None:
        assert without_header(stringified(fields)) == (stringified(fields), None)
        assert without_header(stringified({**fields, STORE_FIELD: text})) == (stringified(fields), text)

    def test_a_name_that_comes_twice_counts_with_its_last_value(self) -> None:
        assert with_changes(rb'{"\ud83d":1, "b":2, "\ud83d":3.10}', {"c": 1}) == rb'{"\ud83d":3.10,"b":2,"c":1}'

    def test_names_that_look_alike_when_read_stay_two(self) -> None:
        body = rb'{"\ud83d":1,"\ud83c":2,"x":3}'
        assert decode(body) == {"\ufffd": 2, "x": 3}
        assert with_changes(body, {"x": 4}) == rb'{"\ud83d":1,"\ud83c":2,"x":4}'

    @pytest.mark.parametrize("change", [{"a": "cake \ud83d"}, {"\ud83d": 1}, {"a": {"\ude00": 1}}, {"a": ["\ud83d"]}])
    def test_a_caller_still_cannot_give_one(self, change: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput, match="half of a surrogate pair"):
            with_changes(rb'{"a":"\ud83d"}', change)


def test_without_halves_the_text_is_as_it_was() -> None:
    body = rb'{"a":"\\ud83d \ud83d\ude00 \u00e9"}'
    assert replaced(body) == body


@pytest.mark.needs("node")
def test_real_javascript_writes_what_we_take_for_it_and_reads_what_we_write() -> None:
    cases = _drawn(FIELDS, 200)
    script = (
        "const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "process.stdout.write(JSON.stringify(cases.map(each => JSON.stringify(each))))"
    )
    written = [text.encode() for text in json.loads(_node(script, json.dumps(cases)))]
    # An object of JavaScript's has names that are whole numbers first, so order is not compared.
    assert [json.loads(body) for body in written] == cases
    for body, fields in zip(written, cases, strict=True):
        assert decode(body) == readable(json.loads(body))
        assert with_changes(body, {}) == body
        assert len(body) == len(stringified(fields))
    changed = [with_changes(body, {"notes": "x"}).decode() for body in written]
    script = (
        "const bodies = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "process.stdout.write(JSON.stringify(bodies.map(each => JSON.parse(each))))"
    )
    assert json.loads(_node(script, json.dumps(changed))) == [{**fields, "notes": "x"} for fields in cases]


def _node(script: str, given: str) -> str:
    return subprocess.run(["node", "-e", script], input=given, capture_output=True, text=True, check=True).stdout


def _drawn(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    found: list[Any] = []

    @settings(max_examples=number, database=None, derandomize=True)
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found


def _with_a_change(body: bytes) -> bytes:
    return with_changes(body, {"new": 1})


def _strictly(body: bytes) -> Any:
    """What Python's own reader makes of it, which takes lone surrogates and, unless told, more than JSON."""
    constant: Callable[[str], Any] = _refuse
    try:
        return json.loads(body.decode(), parse_constant=constant)
    except ValueError:
        return None


def _refuse(name: str) -> None:
    raise ValueError(name)

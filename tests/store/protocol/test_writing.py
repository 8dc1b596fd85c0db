"""What a dirty write, or taking in an external value, makes of what was read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.store.protocol.ids import MOST_IDS, contains, is_external, token_of
from checkout_cli.store.protocol.trust import doubt
from checkout_cli.store.protocol.value import Kind, Value, decode, digest_of, encode_value
from checkout_cli.store.protocol.writing import taken_in, written
from tests.store.protocol.strategies import BODIES, ELSEWHERE, HERE, OWN_IDS, values

DIGEST = digest_of(b"their bytes")
EXTERNAL = values(st.sampled_from([Kind.TAMPERED, Kind.UNSTAMPED]))
OURS = values(st.just(Kind.OURS))


@given(EXTERNAL)
def test_an_external_value_is_taken_in_as_it_is_and_nobody_trusts_it_yet(value: Value) -> None:
    taken = taken_in(value, DIGEST, HERE, "new")
    assert (taken.base, taken.body, taken.ids[:-2]) == (value.base, value.body, value.ids)
    assert taken.ids[-1] == "new-1"
    assert taken.version == value.version + 1
    assert decode(encode_value(taken)) == taken
    assert doubt(taken, HERE, (), lease=True) is not None


@given(EXTERNAL)
def test_its_bytes_are_known_by_their_hash_and_whether_they_may_have_come_back(value: Value) -> None:
    (hashed,) = [each for each in taken_in(value, DIGEST, HERE, "new").ids[-2:] if is_external(each)]
    assert token_of(hashed) == f"f-{DIGEST}"
    assert hashed.startswith("f-") is (value.identity == HERE)


def test_an_external_value_with_more_ids_than_a_header_has_room_for_is_as_one_without_a_header() -> None:
    most = tuple(f"a{number}-1" for number in range(MOST_IDS))
    for ids, base in ((most[:-2], 3), (most[:-1], 0), (most, 0)):
        taken = taken_in(Value(3, HERE, b"{}", ids, kind=Kind.TAMPERED), DIGEST, HERE, "new")
        assert taken.base == base
        assert decode(encode_value(taken)) == taken


@given(OURS, BODIES, OWN_IDS | st.none())
def test_a_write_adds_itself_to_what_it_was_built_on(value: Value, body: bytes, issued: str | None) -> None:
    after = written(value, body, HERE, issued=issued, token="new")
    assert (after.base, after.body, after.identity, after.kind) == (value.base, body, HERE, Kind.OURS)
    assert after.version == value.version + 1
    assert all(contains(after.ids, each) for each in value.ids)


@given(OURS, BODIES, OWN_IDS | st.none())
def test_what_is_built_on_another_servers_value_is_a_token_of_its_own_and_trusted_by_nobody(
    value: Value, body: bytes, issued: str | None
) -> None:
    after = written(value, body, HERE, issued=issued, token="new")
    if value.identity != HERE:
        assert after.questionable
        assert after.ids == (*value.ids, "new-1")
    else:
        assert after.questionable is value.questionable


@given(EXTERNAL, BODIES, OWN_IDS | st.none())
def test_a_write_on_an_external_value_takes_it_in_and_counts_as_two(
    value: Value, body: bytes, issued: str | None
) -> None:
    after = written(value, body, ELSEWHERE, issued=issued, token="new", digest=DIGEST)
    assert after.version == value.version + 2
    assert after.ids[-1] == "new-2"
    assert is_external(after.ids[-2])
    assert (after.body, after.questionable, after.ids[:-2]) == (body, True, value.ids)

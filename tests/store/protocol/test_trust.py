"""What is trusted is ours, of this very server, as new as it must be, and under a lease; nothing else is."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.store.protocol.trust import Distrust, Doubt, doubt
from checkout_cli.store.protocol.value import NO_IDENTITY, Kind, Value
from tests.store.protocol.strategies import ELSEWHERE, HERE, OWN_IDS, VALUES

DISTRUSTED = st.lists(st.builds(Distrust, st.integers(0, 6), OWN_IDS), max_size=2)
SERVERS = st.sampled_from([HERE, ELSEWHERE, None])


@given(VALUES, SERVERS, DISTRUSTED, st.booleans())
def test_only_what_nothing_speaks_against_is_trusted(
    value: Value, identity: bytes | None, distrusted: list[Distrust], lease: bool
) -> None:
    found = doubt(value, identity, distrusted, lease=lease)
    published_here = identity is not None and value.identity == identity != NO_IDENTITY
    behind = any(each.concerns(value) for each in distrusted)
    good = value.kind is Kind.OURS and published_here and not value.questionable and not behind and lease
    assert (found is None) is good


@given(VALUES, SERVERS, DISTRUSTED, DISTRUSTED, st.booleans())
def test_who_knows_more_never_trusts_more(
    value: Value, identity: bytes | None, some: list[Distrust], more: list[Distrust], lease: bool
) -> None:
    if doubt(value, identity, some, lease=lease) is not None:
        assert doubt(value, identity, some + more, lease=lease) is not None
        assert doubt(value, identity, some, lease=False) is not None


@given(VALUES, st.integers(0, 6), OWN_IDS)
def test_a_version_is_missing_where_a_value_neither_reaches_it_nor_has_its_write(
    value: Value, version: int, write_id: str
) -> None:
    concerned = Distrust(version, write_id).concerns(value)
    if value.base >= version:
        assert not concerned
    if write_id in value.ids:
        assert not concerned
    if value.base < version and not value.ids:
        assert concerned


def test_as_many_other_writes_do_not_make_up_for_a_version() -> None:
    value = Value(1, HERE, b"{}", ("a1-5",))
    assert value.version == 6
    assert doubt(value, HERE, [Distrust(2, "b2-1")], lease=True) is Doubt.BEHIND
    assert doubt(value, HERE, [Distrust(2, "a1-3")], lease=True) is None


@given(VALUES)
def test_a_server_that_does_not_tell_who_it_is_is_never_trusted(value: Value) -> None:
    for told in (value.identity, NO_IDENTITY):
        nameless = msgspec.structs.replace(value, identity=told)
        assert doubt(nameless, None, (), lease=True) is not None
    nowhere = msgspec.structs.replace(value, identity=NO_IDENTITY)
    assert doubt(nowhere, NO_IDENTITY, (), lease=True) is not None


def test_a_dirty_value_is_trusted_as_a_clean_one_is() -> None:
    """Decided so: it is newer than its row, and whose row it lacks is distrusted by that row."""
    assert doubt(Value(1, HERE, b"{}", ("a1-1",)), HERE, (), lease=True) is None

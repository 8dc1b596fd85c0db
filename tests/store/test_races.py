"""What the model in ``tests/model`` found, played on the real store: something happens between two steps of a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable
from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Epoch
from tests.support.stores import ID, database_away, flush_all, redis_away, row_fields, row_of, trusted


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Two kinds of databases, whose transactions wait for each other in two ways."""
    if request.param == "SQLite":
        return settings
    return replace(settings, database_url=request.getfixturevalue("emptied_database"), database_timeout=5.0)


def after(target: Any, name: str, meanwhile: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the method's next call be followed by something else before its answer is used."""
    original = getattr(target, name)

    def overtaken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(target, name, original)
        answer = original(*arguments, **options)
        meanwhile()
        return answer

    monkeypatch.setattr(target, name, overtaken)


def lose_the_answer() -> None:
    raise DatabaseUnavailable("the answer to COMMIT was lost, and nobody can be asked")


def test_a_read_does_not_trust_an_old_copy_because_another_thread_has_just_published_the_new_one(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    assert trusted(store) is not None
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        store.update(ID, {"n": 2})
    after(store.redis, "open", lambda: store.get(ID), monkeypatch)
    assert store.get(ID).fields["n"] == 2


def test_a_write_whose_answer_was_lost_does_not_undo_the_one_that_it_was_built_upon(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    other = another()
    with monkeypatch.context() as patch:
        patch.setattr(other.redis, "publish", redis_away)
        assert other.update(ID, {"theirs": 1}).durability is Durability.DATABASE  # Redis still has the first version

    def next_time() -> None:  # the first commit is refused: it was built upon what Redis had
        after(store.database, "update", lose_the_answer, monkeypatch)

    after(store.database, "update", next_time, monkeypatch)
    with pytest.raises(DatabaseUnavailable):  # it cannot be built upon what Redis has, which lacks the other write
        store.update(ID, {"ours": 1})
    flush_all(another())
    assert {"theirs": 1, "ours": 1}.items() <= row_fields(store).items()
    assert store.get(ID).fields["ours"] == another().get(ID).fields["ours"] == 1
    assert store.flush_log.conflicts(1) == []


def test_a_write_whose_answer_was_lost_is_acknowledged_by_redis_and_is_in_the_database_once(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    after(store.database, "update", lose_the_answer, monkeypatch)
    acknowledgement = store.update(ID, lambda fields: {"n": fields["n"] + 1})
    assert (acknowledgement.durability, acknowledgement.session.version) == (Durability.REDIS, 2)
    flush_all(another())
    assert (row_of(store).version, row_fields(store)["n"]) == (2, 2)
    assert another().get(ID).version == 2
    assert store.flush_log.conflicts(1) == []


def test_a_write_whose_answer_was_lost_is_not_made_again_upon_a_newer_version(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    other = another()

    def overtaken() -> None:
        other.update(ID, {"theirs": 1})
        lose_the_answer()

    after(store.database, "update", overtaken, monkeypatch)
    with pytest.raises(DatabaseUnavailable):
        store.update(ID, lambda fields: {"n": fields["n"] + 1})
    flush_all(other)
    assert {"theirs": 1, "n": 2}.items() <= row_fields(store).items()


def test_writes_to_redis_alone_still_follow_one_another_while_the_database_is_away(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    other = another()
    for one in (store, other):
        monkeypatch.setattr(one.database, "transaction", database_away)
        monkeypatch.setattr(one.database, "update", database_away)
    after(store.redis, "open", lambda: other.update(ID, {"theirs": 1}), monkeypatch)
    assert store.update(ID, {"ours": 1}).durability is Durability.REDIS
    flush_all(another())
    assert {"theirs": 1, "ours": 1}.items() <= row_fields(another()).items()


def test_a_publish_to_an_earlier_primary_is_not_noted_under_a_later_one(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, int]] = []
    monkeypatch.setattr(store.lease, "_epochs", object())
    monkeypatch.setattr(store.database, "note_published", lambda versions, _: written.append(dict(versions)))
    store.lease._recognize({b"first": Epoch("", b"first")})
    store.lease.note_published(ID, 1, b"first")
    store.notes.write_down()
    store.lease.note_published(ID, 2, b"first")
    store.lease._recognize({b"second": Epoch("", b"second")})
    store.lease.note_published(ID, 3, b"first")
    store.notes.write_down()
    assert written == [{ID: 1}]

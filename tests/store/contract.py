"""What a store promises its callers, whichever tiers are up. Each configuration runs all of it.

Where a configuration cannot keep a promise, it says so by overriding a member, so that the difference is written down.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from checkout_cli.errors import (
    CheckoutError,
    InvalidInput,
    SessionDeleted,
    SessionExists,
    SessionExpired,
    SessionNotFound,
    TransitionRefused,
)
from checkout_cli.session import Durability, PaymentStatus, Session, TierName, iso
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import ManualClock

ID = "session-0001"
UNKNOWN_FIELDS: Mapping[str, Any] = {
    "items": [{"product_id": "p1", "quantity": 2, "unit_price": 4.5, "anything": {"deep": [1, None, "ü"]}}],
    "contactInfo": {"name": "Ada", "phone": "+49 30 1"},
    "futureField": [True, {"": ""}],
    "version": "2.0",
    "stamp": {"mine": 1},
    "\u202eodd name": "\x1b[31m",
}


class StoreContract:
    """The promises. A subclass provides ``store`` and says what it stands on."""

    durability = Durability.DATABASE
    write_tier = TierName.REDIS
    remembers_the_dead = True
    lists_anything = True

    def version(self, written: int) -> int:
        """The version of a session that nothing stood behind before, after so many writes."""
        return written

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self) -> CheckoutStore:
        raise NotImplementedError

    # Creating

    def test_what_was_created_is_read(self, store: CheckoutStore) -> None:
        created = store.create({"subtotal": 12.5}, checkout_id=ID)
        assert created.durability is self.durability
        assert created.published is (self.write_tier is TierName.REDIS)
        assert created.session.tier is self.write_tier
        session = store.get(ID)
        assert session.version == self.version(1)
        assert session.fields == created.session.fields
        assert session.fields["subtotal"] == 12.5

    def test_a_session_has_the_fields_of_every_session(self, store: CheckoutStore, clock: ManualClock) -> None:
        fields = store.create({}, checkout_id=ID).session.fields
        assert fields == {
            "checkoutId": ID,
            "paymentStatus": "pending",
            "paymentAttempts": 0,
            "createdAt": iso(clock.milliseconds),
            "expiresAt": iso(clock.milliseconds + 1_800_000),
        }

    def test_an_id_is_made_where_none_is_given(self, store: CheckoutStore) -> None:
        first, second = store.create({}).session, store.create({}).session
        assert first.checkout_id != second.checkout_id
        assert store.get(first.checkout_id).fields["checkoutId"] == first.checkout_id

    def test_the_id_may_be_among_the_fields(self, store: CheckoutStore) -> None:
        assert store.create({"checkoutId": ID}).session.checkout_id == ID

    def test_an_id_is_taken_once(self, store: CheckoutStore) -> None:
        store.create({"a": 1}, checkout_id=ID)
        with pytest.raises(CheckoutError) as refusal:
            store.create({"a": 2}, checkout_id=ID)
        self.check_taken(refusal.value)
        assert store.get(ID).fields["a"] == 1

    def check_taken(self, refusal: CheckoutError) -> None:
        assert isinstance(refusal, SessionExists)

    @pytest.mark.parametrize("bad", ["", "short", "a" * 129, "a*bcdefgh", "a:bcdefgh", "12345678\n", "x\0yzabcdef"])
    def test_an_id_that_is_none_is_refused(self, store: CheckoutStore, bad: str) -> None:
        if bad:  # an empty one is none given
            with pytest.raises(InvalidInput):
                store.create({}, checkout_id=bad)
        with pytest.raises(InvalidInput):
            store.create({"checkoutId": bad})
        with pytest.raises(InvalidInput):
            store.update(bad, {"a": 1})

    @pytest.mark.parametrize(
        "fields",
        [
            {"_store": "mine"},
            {"a": float("nan")},
            {"a": 2**60},
            {"a": "\ud800"},
            {"a": object()},
            {"paymentStatus": "bribed"},
            {"createdAt": "yesterday"},
            {"a": "x" * 300_000},
        ],
    )
    def test_what_cannot_be_stored_is_refused_and_leaves_nothing_behind(
        self, store: CheckoutStore, fields: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidInput):
            store.create(fields, checkout_id=ID)
        self.check_missing(store, ID)

    # Reading

    def check_missing(self, store: CheckoutStore, checkout_id: str) -> None:
        with pytest.raises(SessionNotFound):
            store.get(checkout_id)

    def test_an_unknown_session_is_not_found(self, store: CheckoutStore) -> None:
        self.check_missing(store, ID)
        for impossible in ("*", "a\nb\0c\x1b[31m"):
            with pytest.raises(SessionNotFound):
                store.get(impossible)
        with pytest.raises(CheckoutError):
            store.admin.inspect(ID)

    def test_peeking_sees_what_getting_sees(self, store: CheckoutStore) -> None:
        store.create(UNKNOWN_FIELDS, checkout_id=ID)
        sighting = store.admin.inspect(ID)
        assert sighting.session is not None
        assert sighting.session.fields == store.get(ID).fields
        assert sighting.session.version == self.version(1)
        assert sighting.problem is None

    # Writing

    def test_every_field_that_was_not_changed_survives(self, store: CheckoutStore) -> None:
        before = store.create(UNKNOWN_FIELDS, checkout_id=ID).session.fields
        store.update(ID, {"subtotal": 3})
        after = store.get(ID).fields
        assert after == {**before, "subtotal": 3, "expiresAt": after["expiresAt"]}

    def test_every_accepted_write_is_one_version(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        versions = [store.update(ID, {"n": number}).session.version for number in range(3)]
        assert versions == [self.version(number) for number in (2, 3, 4)]
        assert store.get(ID).version == self.version(4)

    def test_changes_can_be_made_from_what_is_there(self, store: CheckoutStore) -> None:
        store.create({"n": 1}, checkout_id=ID)
        store.update(ID, lambda fields: {"n": fields["n"] + 1})
        assert store.get(ID).fields["n"] == 2

    def test_an_unknown_session_cannot_be_updated(self, store: CheckoutStore) -> None:
        with pytest.raises(CheckoutError) as refusal:
            store.update(ID, {"a": 1})
        self.check_not_writable(refusal.value)

    def check_not_writable(self, refusal: CheckoutError) -> None:
        assert isinstance(refusal, SessionNotFound)

    @pytest.mark.parametrize("changes", [{"_store": ""}, {"a": float("inf")}, {"checkoutId": "another-id"}])
    def test_a_refused_change_changes_nothing(self, store: CheckoutStore, changes: dict[str, Any]) -> None:
        store.create({"a": 1}, checkout_id=ID)
        with pytest.raises(InvalidInput):
            store.update(ID, changes)
        assert store.get(ID).version == self.version(1)

    def test_writers_of_different_fields_lose_nothing(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        failures: list[Exception] = []

        def write(name: str) -> None:
            try:
                for number in range(3):
                    self.persistently(lambda: store.update(ID, {name: number}))  # noqa: B023  (called at once)
            except CheckoutError as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(f"field{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        session = store.get(ID)
        assert {name: value for name, value in session.fields.items() if name.startswith("field")} == {
            f"field{number}": 2 for number in range(8)
        }
        assert session.version == self.version(25)

    def persistently(self, write: Any) -> None:
        """A store retries by itself where the database refuses what others have overtaken."""
        write()

    # Payment

    def test_the_payment_goes_its_way_and_is_final(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        store.set_payment_status(ID, PaymentStatus.PROCESSING)
        store.set_payment_status(ID, "failed")
        store.set_payment_status(ID, PaymentStatus.PAID, order_id="order-7")
        with pytest.raises(TransitionRefused):
            store.set_payment_status(ID, PaymentStatus.PENDING)
        session = store.get(ID)
        assert session.status == "paid"
        assert session.fields["databaseOrderId"] == "order-7"
        assert session.version == self.version(4)

    # Deleting

    def test_what_was_deleted_is_gone_for_good(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        store.delete(ID)
        self.check_missing(store, ID)
        with pytest.raises(CheckoutError):
            store.admin.inspect(ID)
        with pytest.raises(CheckoutError):
            store.update(ID, {"a": 1})
        if self.lists_anything:
            assert list(store.admin.iterate()) == []
        if self.remembers_the_dead:
            with pytest.raises(SessionDeleted):
                store.create({}, checkout_id=ID)
            with pytest.raises(SessionDeleted):
                store.delete(ID)

    def test_an_unknown_session_cannot_be_deleted(self, store: CheckoutStore) -> None:
        with pytest.raises(CheckoutError) as refusal:
            store.delete(ID)
        self.check_not_writable(refusal.value)

    # Lifetimes

    def test_reading_grants_the_full_time_again(self, store: CheckoutStore, clock: ManualClock) -> None:
        store.create({}, checkout_id=ID)
        for _ in range(4):
            self.pass_time(store, clock, 1000)
            store.get(ID)
        self.pass_time(store, clock, 1000)
        assert store.get(ID).version == self.version(1)

    def test_writing_grants_the_full_time_again(self, store: CheckoutStore, clock: ManualClock) -> None:
        store.create({}, checkout_id=ID)
        for _ in range(4):
            self.pass_time(store, clock, 1000)
            fields = store.update(ID, {"a": 1}).session.fields
            assert fields["expiresAt"] == iso(clock.milliseconds + 1_800_000)

    def test_a_session_that_nobody_uses_ends(self, store: CheckoutStore, clock: ManualClock) -> None:
        store.create({}, checkout_id=ID)
        self.pass_time(store, clock, 1801)
        self.check_missing(store, ID)
        with pytest.raises(CheckoutError) as refusal:
            store.update(ID, {"a": 1})
        self.check_not_writable(refusal.value)

    def test_looking_grants_nothing(self, store: CheckoutStore, clock: ManualClock) -> None:
        store.create({}, checkout_id=ID)
        for _ in range(2):
            self.pass_time(store, clock, 800)
            store.admin.inspect(ID)
            if self.lists_anything:
                assert len(list(store.admin.iterate())) == 1
                assert store.admin.count().number == 1
        self.pass_time(store, clock, 300)
        self.check_missing(store, ID)

    def test_no_use_keeps_a_session_beyond_its_maximum_age(self, store: CheckoutStore, clock: ManualClock) -> None:
        store.create({}, checkout_id=ID)
        for _ in range(57):
            self.pass_time(store, clock, 1500)
            store.get(ID)
        self.pass_time(store, clock, 86_400 - 57 * 1500 - 1)
        assert store.get(ID).version == self.version(1)
        self.pass_time(store, clock, 2)
        self.check_missing(store, ID)
        with pytest.raises(CheckoutError):
            store.update(ID, {"a": 1})

    def pass_time(self, store: CheckoutStore, clock: ManualClock, seconds: float) -> None:
        """Time passes, for the store and for its servers."""
        clock.advance(seconds)

    # Seeing all

    def test_all_sessions_are_listed_once_and_the_newest_first(self, store: CheckoutStore, clock: ManualClock) -> None:
        names = [f"session-{number:04}" for number in range(7)]
        for name in names:
            clock.advance(0.01)
            store.create({}, checkout_id=name)
        if self.lists_anything:
            assert [sighting.checkout_id for sighting in store.admin.iterate()] == names[::-1]
            assert store.admin.count().number == 7
            assert store.admin.count().exact

    def test_ids_are_found_by_their_beginning(self, store: CheckoutStore) -> None:
        for name in ("abcd-0001", "abcd-0002", "abc*-0003".replace("*", "_")):
            store.create({}, checkout_id=name)
        if self.lists_anything:
            assert store.admin.matching("abcd-", limit=10) == ["abcd-0001", "abcd-0002"]
            assert store.admin.matching("abcd-0002") == ["abcd-0002"]
            assert store.admin.matching("abc_", limit=10) == ["abc_-0003"]
            assert store.admin.matching("abcd%", limit=10) == [] if self.write_tier is TierName.REDIS else True

    def test_totals_count_each_session_once(self, store: CheckoutStore) -> None:
        for name in ("session-1", "session-2", "session-3"):
            store.create({}, checkout_id=name)
        store.set_payment_status("session-1", "paid", order_id="o")
        store.update("session-1", {"notes": "x"})
        store.set_payment_status("session-2", "failed")
        self.check_totals(store)

    def check_totals(self, store: CheckoutStore) -> None:
        totals = store.database.totals()
        assert (totals.created, totals.completed, totals.failed) == (3, 1, 1)

    def test_a_session_says_which_tier_it_came_from(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        session = store.get(ID)
        assert session.tier is self.write_tier
        assert session.verified is (self.durability is Durability.DATABASE)
        assert isinstance(session, Session)

    def test_an_expired_session_is_told_from_an_unknown_one(self, store: CheckoutStore, clock: ManualClock) -> None:
        store.create({}, checkout_id=ID)
        self.pass_time(store, clock, 1801)
        if self.remembers_the_dead:
            with pytest.raises(SessionExpired):
                store.get(ID)

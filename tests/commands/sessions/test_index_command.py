"""``sessions index`` and the further clean-ups, as a person and a program see them."""

from __future__ import annotations

import pytest

from checkout_cli.keys import INDEX, INDEX_BESIDE
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.divergence import note_seen

ID = "4645c59d-c428-4017-af90-a43ee2787c34"


@pytest.fixture
def unlisted(store: CheckoutStore) -> CheckoutStore:
    """One session that the index does not list, and one that never ends; a name for which nothing waits."""
    store.create({}, checkout_id=ID)
    store.create({}, checkout_id="endless-01")
    store.redis.ask(("ZREM", "checkout:index", ID))
    store.redis.ask(("PERSIST", "checkout:session:endless-01"))
    store.redis.ask(("SADD", "checkout:pending", "nobody-001"))
    return store


def test_a_check_tells_what_is_wrong_and_what_to_type(unlisted: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "index", "check")
    assert done.returncode == 1
    assert "1 session is not in the index (4645c59d)\n" in done.stdout
    assert done.stderr == "next: checkoutctl sessions index repair --fix-ttl\n"


def test_a_repair_needs_yes_without_a_terminal_and_shows_what_it_would_do(
    unlisted: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    refused = checkoutctl("sessions", "index", "repair")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "1 session never ends" in refused.stderr
    looked = checkoutctl.here("sessions", "index", "repair", "--dry-run", "--json")
    assert (looked.code, looked.documents[0]["repaired"]) == (1, False)
    assert unlisted.redis.ask(("ZSCORE", "checkout:index", ID)) is None
    (done,) = checkoutctl.here("sessions", "index", "repair", "--fix-ttl", "--yes", "--json").documents
    assert (done["repaired"], done["missing"]["count"], done["endless"]["fixed"]) == (True, 1, 1)
    sound = checkoutctl.here("sessions", "index", "check")
    assert (sound.code, sound.out.splitlines()[-1]) == (0, "the index is sound")


def test_a_clean_up_repairs_the_index_without_asking(unlisted: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("cleanup", "--index", "--quiet")
    assert done.code == 1  # a session that never ends is left
    assert unlisted.redis.ask(("ZSCORE", "checkout:index", ID)) is not None
    assert "never ends" in done.out


def test_a_clean_up_of_orphans_asks(unlisted: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    assert checkoutctl.here("cleanup", "--orphans").code == 2
    looked = checkoutctl.here("cleanup", "--orphans", "--dry-run", "--json")
    assert (looked.code, looked.documents[0]["orphans"]["pendingNames"]["count"]) == (0, 1)
    done = checkoutctl.here("cleanup", "--expired", "--orphans", "--yes")
    assert (done.code, "removed 1 name among the pending" in done.out) == (0, True)
    assert unlisted.redis.ask(("SCARD", "checkout:pending")) == 0


def test_nothing_to_clean_up_is_a_usage_error(checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("cleanup")
    assert (done.code, done.out) == (2, "")


def test_without_redis_it_is_unavailable(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    for command in ("check", "repair", "adopt"):
        done = checkoutctl.here("sessions", "index", command, env={"REDIS_PORT": "1"})
        assert (done.code, done.out) == (69, "")


# Adoption


@pytest.fixture
def beside(store: CheckoutStore) -> CheckoutStore:
    """An older program's SET, and ours beside it."""
    store.create({}, checkout_id=ID)
    store.redis.ask(("RENAME", INDEX, INDEX_BESIDE))
    store.redis.ask(("SADD", INDEX, ID, "older-0001"))
    store.redis.ask(("SET", "checkout:session:older-0001", b"{}", "EX", 600))
    return store


def test_a_check_says_what_lies_where(beside: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "index", "check")
    assert done.code == 0
    assert "checkout:index holds an older program's SET with 2 ids: kept for it, ours lies beside it" in done.out
    assert "1 session is in the older program's SET alone: left to the next clean-up (older-00)" in done.out
    (document,) = checkoutctl.here("sessions", "index", "check", "--json").documents
    assert (document["place"], document["kind"], document["set"]["members"]) == ("beside a set", "set", 2)
    beside.redis.ask(("DEL", INDEX))
    beside.redis.ask(("SET", INDEX, "x"))
    assert "checkout:index holds a string that is not ours" in checkoutctl.here("sessions", "index", "check").out


def test_an_adoption_needs_yes_off_a_terminal_and_a_dry_run_changes_nothing(
    beside: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    refused = checkoutctl("sessions", "index", "adopt")
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    looked = checkoutctl.here("sessions", "index", "adopt", "--dry-run")
    assert (looked.code, looked.out) == (0, "would put our index with 1 entry at checkout:index\n")
    assert "checkout:index holds an older program's SET with 2 ids" in looked.err
    assert beside.redis.ask(("TYPE", INDEX)) == b"set"
    done = checkoutctl.here("sessions", "index", "adopt", "--yes")
    assert done.code == 0
    assert done.out == (
        "entered 1 session that only the SET listed, removed 0 ids without a session\n"
        "our index lies at checkout:index\n"
    )
    assert beside.redis.ask(("ZCARD", INDEX)) == 2
    again = checkoutctl.here("sessions", "index", "adopt", "--yes")
    assert (again.code, again.out) == (0, "nothing to adopt: there is no older program's SET at checkout:index\n")


def test_an_adoption_answers_with_one_document(beside: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "index", "adopt", "--yes", "--json")
    (document,) = done.documents
    del document["schemaVersion"]
    assert document == {
        "adopted": True,
        "place": "beside a set",
        "kind": "set",
        "members": 2,
        "entries": 1,
        "externalWriterSeenAt": None,
        "entered": 1,
        "removed": 0,
        "finished": True,
    }


def test_while_the_older_program_is_in_use_it_says_so(beside: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    note_seen(beside, beside.clock.wall() - 3_600_000)
    refused = checkoutctl.here("sessions", "index", "adopt", "--yes")
    assert refused.code == 1
    assert "another program was seen within a day, and uses the SET at checkout:index" in refused.err
    assert beside.redis.ask(("TYPE", INDEX)) == b"set"
    assert checkoutctl.here("sessions", "index", "adopt", "--yes", "--force").code == 0


def test_somebody_elses_key_is_named_and_left(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.redis.ask(("ZADD", INDEX, 3, "alice-0001"))
    done = checkoutctl.here("sessions", "index", "adopt", "--yes")
    assert (done.code, done.out) == (
        1,
        "checkout:index holds a zset that is not ours: left alone, ours lies beside it\n",
    )
    assert store.redis.ask(("ZRANGE", INDEX, 0, -1, "WITHSCORES")) == [b"alice-0001", b"3"]

"""``sessions index`` and the further clean-ups, as a person and a program see them."""

from __future__ import annotations

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from tests.conftest import Checkoutctl

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
    for command in ("check", "repair"):
        done = checkoutctl.here("sessions", "index", command, env={"REDIS_PORT": "1"})
        assert (done.code, done.out) == (69, "")

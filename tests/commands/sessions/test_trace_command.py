"""``sessions trace`` and ``sessions why``, as a person and a program see them."""

from __future__ import annotations

import json

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.divergence import update_in_database_alone

ID = "4645c59d-c428-4017-af90-a43ee2787c34"
NAME = "Ada Lovelace"
NO_REDIS = {"REDIS_PORT": "1"}
NOTHING = {**NO_REDIS, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}


@pytest.fixture
def behind(store: CheckoutStore) -> str:
    """A session of which Redis lacks the last version; the shopper's name differs too."""
    store.create({"totalAmount": 7.5, "contactInfo": {"name": NAME}, "userId": "user-0042"}, checkout_id=ID)
    store.notes.write_down()
    update_in_database_alone(store.settings, ID, totalAmount=9.5, contactInfo={"name": "Eve"})
    return ID


def test_both_tiers_stand_side_by_side_and_personal_data_is_masked(behind: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "trace", behind[:8])
    assert done.returncode == 0
    assert "2 (published: 1)" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("totalAmount")] == [
        ["totalAmount", "7.5", "9.5"]
    ]
    assert "(another value)" in done.stdout
    assert NAME not in done.stdout + done.stderr
    assert NAME in checkoutctl.here("sessions", "trace", behind, "--reveal").out


def test_a_program_gets_the_same_as_json(behind: str, checkoutctl: Checkoutctl) -> None:
    (document,) = checkoutctl.here("sessions", "trace", behind, "--json").documents
    assert document["schemaVersion"] == 1
    assert (document["redis"]["version"], document["database"]["version"]) == (1, 2)
    assert document["redis"]["trusted"] is False
    assert document["database"]["pending"] is True
    assert {"field": "totalAmount", "redis": "7.5", "database": "9.5"} in document["differences"]
    assert NAME not in json.dumps(document)


def test_without_redis_it_says_what_it_does_not_know(behind: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "trace", behind, env=NO_REDIS)
    assert done.code == 0
    assert "not known" in done.out
    assert "refused" in done.err


@pytest.mark.parametrize("command", ["trace", "why"])
def test_without_any_tier_it_is_unavailable(command: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", command, ID, env=NOTHING)
    assert (done.code, done.out) == (69, "")
    assert done.err.count("error:") == 1


def test_an_id_that_nobody_knows_is_not_found(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    assert checkoutctl.here("sessions", "trace", ID).code == 3
    done = checkoutctl.here("sessions", "why", ID)
    assert done.code == 3
    assert "no tier knows anything of it" in done.out
    assert checkoutctl.here("sessions", "trace", "a\x1b[31mb" * 30).code == 3


def test_why_answers_in_a_sentence_with_evidence_and_the_next_command(behind: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sessions", "why", behind)
    assert done.returncode == 1
    assert done.stdout.startswith(f"session {ID}: it is alive: the database has version 2")
    assert "  database: version 2; published is 1" in done.stdout
    assert done.stderr == "next: checkoutctl sync\n"
    (document,) = checkoutctl.here("sessions", "why", behind, "--json").documents
    assert (document["cause"], document["next"]) == ("waits_for_redis", "checkoutctl sync")


def test_why_of_a_user_tells_of_each_session_and_not_the_whole_user_id(behind: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl.here("sessions", "why", "user-0042")
    assert done.code == 1
    assert "user user…: 1 session\n" in done.out
    assert "user-0042" not in done.out + done.err
    (document,) = checkoutctl.here("sessions", "why", "user-0042", "--user", "--json").documents
    assert [one["checkoutId"] for one in document["sessions"]] == [ID]

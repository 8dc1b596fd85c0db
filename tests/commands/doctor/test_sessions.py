"""What busy shops and other programs do to sessions is no false alarm, and each fix mends what it is given for."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from checkout_cli.checks import Finding, Status
from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.sessions.index_adoption import adopt_index
from checkout_cli.config.settings import Settings
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, claim_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.divergence import note_seen
from tests.support.doctoring import examined, finding
from tests.support.servers import ValkeyServer

Look = Callable[[str], Finding]


@pytest.fixture
def look(store: CheckoutStore, tmp_path: Path) -> Look:
    """What a check finds on the test's own servers, which have a few sessions."""
    for number in range(5):
        store.create({"userId": f"user-{number}"}, checkout_id=f"session-{number:04}")
    clean_up(store)
    return lambda name: finding(store.settings, name, tmp_path)


def test_a_claim_to_fill_a_key_is_no_session_that_the_index_lacks(look: Look, store: CheckoutStore) -> None:
    store.redis.claim("not-there-yet")
    assert store.redis.ask(("EXISTS", claim_key("not-there-yet")))
    found = look("index-missing")
    assert (found.status, found.numbers["sampled"]) == (Status.OK, 5)
    store.redis.ask(("SET", "checkout:session:not-there-yet", "{}"))  # as short, and a session
    assert look("index-missing").numbers == {"sampled": 6, "missing": 1}


def test_sessions_that_come_and_go_while_they_are_sampled_are_not_missed(store: CheckoutStore, tmp_path: Path) -> None:
    stop = threading.Event()

    def shop(name: str) -> None:
        with CheckoutStore.open(replace(store.settings, timeout=5, database_timeout=30)) as own:
            for number in range(100_000):
                if stop.is_set():
                    return
                own.create({}, checkout_id=f"{name}-{number:06}")
                own.update(f"{name}-{number:06}", {"subtotal": number})
                if number > 20:
                    own.delete(f"{name}-{number - 20:06}")

    shops = [threading.Thread(target=shop, args=(name,)) for name in ("first", "second")]
    for thread in shops:
        thread.start()
    try:
        reports = [examined(store.settings, tmp_path, "sessions", "database") for _ in range(10)]
    finally:
        stop.set()
        for thread in shops:
            thread.join()
    alarms = {
        result.check.id
        for report in reports
        for result in report.results
        if result.status in {Status.WARN, Status.CRIT} and result.check.id != "stampede"  # they are all of one second
    }
    assert alarms == set()
    assert all(result.finding.numbers["sampled"] for result in reports[-1].results if result.check.id == "drift")


@pytest.mark.needs("redis-cli")
def test_the_fix_of_sessions_without_an_end_gives_one_to_those_alone(
    any_redis_server: ValkeyServer, settings: Settings, tmp_path: Path
) -> None:
    with any_redis_server.client() as client:
        for name in ("plain", 'with "quotes" in it', "with\nFLUSHALL\nin it"):
            client.set(f"checkout:session:{name}", "{}")
        client.set("checkout:session:ending", "{}", ex=77)
        client.set("another:key", "x")
        there = replace(settings, redis_port=any_redis_server.port)
        found = finding(there, "session-ttl", tmp_path)
        assert (found.status, found.numbers["withoutTtl"]) == (Status.CRIT, 3)
        command = found.fix.replace("checkoutctl", f"{sys.executable} -m checkout_cli") + " --yes"
        own = {"REDIS_HOST": HOST, "REDIS_PORT": str(there.redis_port), "DATABASE_URL": there.database_url}
        environment = {**os.environ, **own, "HOME": str(tmp_path)}
        subprocess.run(command, shell=True, check=True, capture_output=True, timeout=20, env=environment, cwd=tmp_path)  # noqa: S602
        assert client.ttl("checkout:session:ending") <= 77
        assert client.ttl("another:key") == -1
        assert 0 < client.ttl("checkout:session:plain") <= settings.session_ttl
        assert 0 < client.ttl('checkout:session:with "quotes" in it') <= settings.session_ttl
        assert len(client.keys("checkout:session:*")) == 4


def steps(fix: str) -> list[list[str]]:
    """What a fix types, one command after the other."""
    without_address = re.sub(r"redis-cli (-[hp] \S+ )*", "redis-cli ", fix)
    return [shlex.split(step) for step in without_address.split("; ")]


def test_the_fix_of_a_foreign_key_at_the_index_keeps_it_and_puts_ours_there(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("RENAME", INDEX, INDEX_BESIDE))
    store.redis.ask(("LPUSH", INDEX, "x"))
    found = look("index-kind")
    (_, *rename), adoption = steps(found.fix)
    assert (found.status, rename[0]) == (Status.WARN, "RENAMENX")
    assert adoption == ["checkoutctl", "sessions", "index", "adopt"]
    assert "another program's list" in found.evidence
    store.redis.ask(tuple(rename))
    adopt_index(store, agreed=lambda _: True)
    assert look("index-kind").status is look("index-missing").status is Status.OK
    assert store.redis.ask(("LRANGE", rename[2], 0, -1)) == [b"x"]


def test_somebody_elses_sorted_set_is_told_and_stays_as_it_is(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("RENAME", INDEX, INDEX_BESIDE))
    store.redis.ask(("ZADD", INDEX, 3, "alice-0001"))
    before = store.redis.ask(("DUMP", INDEX))
    found = look("index-kind")
    assert (found.status, "another program's zset" in found.evidence) == (Status.WARN, True)
    assert look("index-missing").numbers == {"sampled": 5, "missing": 0}
    assert look("index-dangling").numbers["sampled"] == 5
    assert store.redis.ask(("DUMP", INDEX)) == before


def test_where_no_place_is_left_for_the_index_that_is_critical_and_the_fix_makes_one(
    look: Look, store: CheckoutStore
) -> None:
    for key in (INDEX, INDEX_BESIDE):
        store.redis.ask(("DEL", key))
        store.redis.ask(("SET", key, "x"))
    found = look("index-kind")
    (_, *rename), _ = steps(found.fix)
    assert found.status is Status.CRIT
    store.redis.ask(tuple(rename))
    clean_up(store)
    assert look("index-kind").status is Status.WARN
    assert look("index-missing").status is Status.OK


@pytest.mark.parametrize(
    ("hours", "status", "offered"), [(3, Status.OK, False), (25, Status.WARN, True), (None, Status.WARN, True)]
)
def test_an_adoption_is_offered_once_no_older_program_was_seen_for_a_day(
    look: Look, store: CheckoutStore, hours: int | None, status: Status, offered: bool
) -> None:
    if hours is not None:
        note_seen(store, store.clock.wall() - hours * 3_600_000)
    assert look("index-kind").status is Status.OK  # there is nothing to adopt
    store.redis.ask(("RENAME", INDEX, INDEX_BESIDE))
    store.redis.ask(("SADD", INDEX, *(f"session-{number:04}" for number in range(5))))
    found = look("index-kind")
    assert (found.status, found.fix == "checkoutctl sessions index adopt") == (status, offered)
    assert "an older program's SET" in found.evidence
    assert look("index-missing").status is Status.OK
    if offered:
        adopt_index(store, agreed=lambda _: True)
        assert look("index-kind").status is Status.OK


def test_an_interrupted_adoption_is_told(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("SADD", INDEX_ASIDE, "session-0001"))
    assert look("index-kind").fix == "checkoutctl sessions index adopt"


@pytest.mark.parametrize(("age", "status"), [(30_000, Status.OK), (90_000, Status.WARN)])
def test_a_version_may_wait_for_redis_for_a_minute(look: Look, store: CheckoutStore, age: int, status: Status) -> None:
    with store.database.transaction() as connection:
        statement = "UPDATE checkoutctl_sessions SET version = version + 1, updated_at = :then"
        connection.execute(text(statement), {"then": store.clock.wall() - age})
    found = look("pending")
    assert (found.status, found.numbers["toRedis"]) == (status, 5)


def test_a_cluster_is_sampled_on_every_server(store: CheckoutStore, tmp_path: Path, cluster: Cluster) -> None:
    settings = replace(store.settings, redis_port=cluster.primaries[0].port, redis_mode="cluster", timeout=2)
    with CheckoutStore.open(settings) as clustered:
        for number in range(30):
            clustered.create({}, checkout_id=f"session-{number:04}")
        clustered.redis.claim("not-there-yet")
        healthy = examined(settings, tmp_path, "sessions")
        assert {result.check.id for result in healthy.results if result.status is not Status.OK} == {"stampede"}
        clustered.redis.ask(("ZREM", INDEX, "session-0001"))
        clustered.redis.ask(("PERSIST", "checkout:session:session-0002"))
    assert finding(settings, "index-missing", tmp_path).numbers == {"sampled": 30, "missing": 1}
    assert finding(settings, "session-ttl", tmp_path).numbers["withoutTtl"] == 1


def test_an_emptied_redis_is_critical_until_its_sessions_are_published(look: Look, store: CheckoutStore) -> None:
    store.notes.write_down()
    assert look("redis-emptied").evidence == "none of 5 that the database has is missing"
    store.redis.ask(("FLUSHALL",))
    found = look("redis-emptied")
    assert (found.status, found.fix) == (Status.CRIT, "checkoutctl migrate run")
    assert re.fullmatch(
        r"Redis was emptied since \d\d:\d\d UTC, 5 sessions are in the database only", found.evidence
    ), found


def test_a_full_server_is_given_room_before_it_is_filled_again(
    look: Look, store: CheckoutStore, valkey: ValkeyServer
) -> None:
    store.notes.write_down()
    store.redis.ask(("FLUSHALL",))
    with valkey.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 1000)
        try:
            assert look("redis-emptied").fix == "checkoutctl memory tune --advise"  # the policy alone would be refused
            client.config_set("maxmemory-policy", "noeviction")
            assert look("redis-emptied").fix == "checkoutctl memory tune --advise"
        finally:
            client.config_set("maxmemory", 0)


def test_what_somebody_deletes_is_no_alarm(look: Look, store: CheckoutStore) -> None:
    for number in range(5, 40):
        store.create({}, checkout_id=f"session-{number:04}")
    store.notes.write_down()
    for number in range(3):
        store.redis.ask(("DEL", f"checkout:session:session-{number:04}"))
    found = look("redis-emptied")
    assert (found.status, found.numbers["databaseOnly"]) == (Status.OK, 3)

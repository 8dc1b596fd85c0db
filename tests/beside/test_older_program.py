"""The imitation of the older program: whether it does what the real one does, on the bytes; and what we owe it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import iso, milliseconds_of
from tests.beside.parties import Party, older_program, process_environment
from tests.beside.places import Place
from tests.beside.rolling import How, roll
from tests.older_program import FIELDS, INDEX, PREFIX, STATISTICS, OlderProgram, parse, stringify
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, make_store, make_tables

ID = "session-0001"
KEY = PREFIX + ID

TEXTS = {
    "blanks": ('{ "a" : 1 ,\t"b":[ ] }', '{"a":1,"b":[]}'),
    "members keep their places": ('{"version":1,"a":1,"stamp":"x"}', '{"version":1,"a":1,"stamp":"x"}'),
    "prices": ('{"a":10.50,"b":1.0,"c":0.1,"d":-0.0,"e":1e2}', '{"a":10.5,"b":1,"c":0.1,"d":0,"e":100}'),
    "a number that no double holds": ('{"a":12345678901234567890123}', '{"a":1.2345678901234568e+22}'),
    "one that is written in full": ('{"a":1152921504606846976}', '{"a":1152921504606847000}'),
    "infinity": ('{"a":1e999}', '{"a":null}'),
    "raw characters": (r'{"a":"\u00e9\u2028\/\ud83c\udf82"}', '{"a":"é\u2028/🎂"}'),
    "escapes": (r'{"a":"\"\\\n\u0001\u007f"}', '{"a":"\\"\\\\\\n\\u0001\x7f"}'),
    "half a surrogate pair": (r'{"notes":"cake \ud83d"}', r'{"notes":"cake \ud83d"}'),
    "a name twice": ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
}
"""What goes in, and what JSON.parse and JSON.stringify make of it."""


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with valkey.client(socket_timeout=5) as connected:
        yield connected


@pytest.fixture
def program(client: redis.Redis) -> OlderProgram:
    """The imitation in the test's own process."""
    return OlderProgram(client)


# What it does


@pytest.mark.parametrize("case", TEXTS)
def test_it_reads_and_writes_json_as_javascript_does(case: str) -> None:
    given, written = TEXTS[case]
    assert stringify(parse(given.encode())).decode() == written


def test_an_update_writes_everything_back_in_its_place_but_the_end_of_its_life(
    program: OlderProgram, client: redis.Redis
) -> None:
    client.set(KEY, b'{"_store":"1 x","checkoutId":"session-0001","unknown":[1.50],"expiresAt":"2099-01-01T00:00:00Z"}')
    session = program.update(ID, {"notes": "é"})
    assert session is not None
    value = client.get(KEY)
    assert value == (
        b'{"_store":"1 x","checkoutId":"session-0001","unknown":[1.5],"expiresAt":"%s","notes":"\xc3\xa9"}'
        % session["expiresAt"].encode()
    )
    assert 1790 < client.ttl(KEY) <= 1800


def test_some_of_its_paths_write_its_own_fields_alone(program: OlderProgram, client: redis.Redis) -> None:
    client.set(KEY, b'{"_store":"1 x","notes":"a","checkoutId":"session-0001","unknown":1}')
    program.update(ID, {"paymentStatus": "paid"}, fresh=True)
    assert list(json.loads(client.get(KEY) or b"")) == ["checkoutId", "notes", "paymentStatus", "expiresAt"]


def test_it_enters_a_session_into_its_index_and_takes_it_out(program: OlderProgram, client: redis.Redis) -> None:
    program.create(ID, {"userId": "user-1"})
    assert client.smembers(INDEX) == {ID.encode()}
    program.pay(ID, "ORD-1", delete=True)
    assert (client.exists(KEY), client.scard(INDEX)) == (0, 0)
    assert client.hgetall(STATISTICS) == {b"totalCreated": b"1", b"totalCompleted": b"1", b"activeSessions": b"0"}


def test_it_never_hears_that_its_index_refused_an_id(program: OlderProgram, client: redis.Redis) -> None:
    client.zadd(INDEX, {"somebody-elses": 1})
    program.create(ID, {})
    program.delete(ID)
    assert program.counts() == {"additions": 1, "removals": 1}


@pytest.mark.parametrize("value", [b"null", b"fill:1:2", b"", b"[1", b"NaN"])
def test_what_does_not_parse_is_no_session_and_its_list_fails_as_a_whole(
    program: OlderProgram, client: redis.Redis, value: bytes
) -> None:
    program.create("session-0002", {})
    client.set(KEY, value)
    assert program.get(ID) is None
    with pytest.raises(ValueError, match=r"."):
        program.all()
    client.delete(KEY)
    assert [session["checkoutId"] for session in program.all()] == ["session-0002"]


def test_it_ends_a_session_whose_own_moment_has_passed(program: OlderProgram, client: redis.Redis) -> None:
    program.create(ID, {})
    client.expire(KEY, 7200)
    program.wait(1799)
    assert program.get(ID) is not None
    program.wait(2)
    assert program.get(ID) is None
    assert (client.exists(KEY), client.scard(INDEX)) == (0, 0)


# What we owe it


def test_a_session_that_our_reads_keep_alive_is_not_ended_by_it(program: OlderProgram, settings: Settings) -> None:
    program.create(ID, {})
    clock = ManualClock()
    with make_store(settings, clock) as store:
        make_tables(store.database)
        store.update(ID, {"notes": "ours"})
        for _ in range(4):
            clock.advance(600)
            program.wait(600)
            store.get(ID)
            assert program.get(ID) is not None


def test_a_session_that_an_operator_extends_is_not_ended_by_it(
    program: OlderProgram, settings: Settings, checkoutctl: Checkoutctl
) -> None:
    program.create(ID, {})
    with make_store(settings) as store:
        make_tables(store.database)
        store.update(ID, {"notes": "ours"})
    assert checkoutctl.here("sessions", "extend", ID, "--by", "1h").code == 0
    program.wait(3600)
    assert program.get(ID) is not None


# The shop's own client


def ioredis_tests(test: Callable[..., None]) -> Callable[..., None]:
    """The shop's own client runs on node, and npm brings it."""
    return pytest.mark.registry(pytest.mark.needs("node", "npm")(test))  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def ioredis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which node finds the shop's client, installed once for all tests."""
    directory = tmp_path_factory.mktemp("ioredis")
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--fetch-retries=0")
    try:
        done = subprocess.run(
            ["npm", "install", *quiet, "--prefix", str(directory), "ioredis@5"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install ioredis within 90 s")
    if done.returncode != 0:
        pytest.skip(f"npm could not install ioredis: {done.stderr.strip().splitlines()[:1]}")
    return directory / "node_modules"


def ioredis_program(modules: Path, settings: Mapping[str, str], directory: Path, name: str = "it") -> Party:
    """The older program with its own client, as a process of node."""
    environment = process_environment(directory, settings)
    environment |= {"NODE_PATH": str(modules), "SHOP_FIELDS": ",".join(FIELDS)}
    script = Path(__file__).with_name("older_program.cjs")
    return Party(name, ["node", str(script)], environment, directory)


def without_moments(value: bytes) -> bytes:
    """A value with every moment in it replaced by one."""
    fields = json.loads(value)
    for name in ("createdAt", "expiresAt"):
        assert milliseconds_of(fields[name]) is not None
        value = value.replace(fields[name].encode(), iso(0).encode())
    return value


@ioredis_tests
@pytest.mark.timeout(180)
@pytest.mark.parametrize("fresh", [False, True])
def test_the_imitation_writes_the_same_bytes_as_the_shops_own_client(
    place: Place, fresh: bool, ioredis: Path, tmp_path: Path
) -> None:
    changes = {"_store": "1 x", "items": [{"unit_price": 5.0, "name": "Zoë 🎂 \ud83d \u2028"}], "subtotal": 1e21}
    values = []
    kinds: list[Callable[..., Party]] = [older_program, partial(ioredis_program, ioredis)]
    with redis.Redis(host=HOST, port=int(place.settings["REDIS_PORT"])) as client:
        for start in kinds:
            client.flushall()
            with start(place.settings, tmp_path) as it:
                it("create", checkout_id=ID, fields={"userId": "user-1", "subtotal": 10.50})
                it("update", checkout_id=ID, changes=changes)
                it("pay", checkout_id=ID, order_id="ORD-1", fresh=fresh)
                values.append(without_moments(client.get(KEY) or b""))
            assert client.smembers(INDEX) == {ID.encode()}
    assert values[0] == values[1]
    assert (b"_store" in values[0]) is not fresh


@ioredis_tests
@pytest.mark.timeout(180)
def test_the_imitation_reads_and_writes_json_as_node_does(place: Place, ioredis: Path, tmp_path: Path) -> None:
    with ioredis_program(ioredis, place.settings, tmp_path) as it:
        texts: dict[str, Any] = {case: it("echo", text=given) for case, (given, _) in TEXTS.items()}
    assert texts == {case: written for case, (_, written) in TEXTS.items()}


@ioredis_tests
@pytest.mark.timeout(180)
def test_no_checkout_is_wrong_beside_the_shops_own_client(place: Place, ioredis: Path, tmp_path: Path) -> None:
    found = roll(place, How(), tmp_path, older=partial(ioredis_program, ioredis))
    assert found.refused_additions == 0, found.told()
    assert (found.wrong_as_we_read, found.wrong_as_it_reads, found.refused, found.silent) == (0, 0, 0, 0), found.told()

"""What a server says is checked at one border: replies of another shape, of no end, or of no protocol at all."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import checkout_cli
from checkout_cli.config.settings import Settings
from checkout_cli.errors import RedisUnavailable, ReplyTooLarge, WrongServer
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import TierName
from checkout_cli.store.redis import bounded, pipeline, server
from checkout_cli.store.redis import server as redis_server
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.cluster import RedisCluster
from checkout_cli.store.redis.commands import SCRIPTS, shape_of
from checkout_cli.store.redis.replies import SHAPES, anything, type_name
from tests.support.liar import Liar, Tell, dripping, endless, instead
from tests.support.servers import ValkeyServer
from tests.support.stores import ID, make_store

LIES = {
    "a number": b":7\r\n",
    "a negative number": b":-5\r\n",
    "no string": b"$-1\r\n",
    "no array": b"*-1\r\n",
    "an empty array": b"*0\r\n",
    "a status": b"+OK\r\n",
    "a string": b"$3\r\nabc\r\n",
    "an empty string": b"$0\r\n\r\n",
    "bytes that are no text": b"$3\r\n\xff\xfe\x00\r\n",
    "an array of a number": b"*1\r\n:1\r\n",
    "an array of two": b"*2\r\n$1\r\n0\r\n:5\r\n",
    "an array of three": b"*3\r\n:1\r\n$-1\r\n*0\r\n",
    "an error in an array": b"*1\r\n-ERR x\r\n",
    "deep arrays": b"*1\r\n" * 8 + b":1\r\n",
    "an error": b"-ERR \xff\xfe\r\n",
    "an error without a word": b"-\r\n",
    "a redirection to nowhere": b"-MOVED foo\r\n",
    "a redirection to a port that cannot be": b"-ASK 99999 :0\r\n",
    "a number that is too large": b":99999999999999999999999\r\n",
    "an array of four thousand million": b"*4000000000\r\n",
    "a string of nine gigabytes": b"$9000000000\r\nx",
    "what is no protocol": b"\x00garbage\r\n",
    "a page of the web": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a null of RESP3": b"_\r\n",
    "a map of RESP3": b"%1\r\n+a\r\n:1\r\n",
}
TIMEOUT = 0.3


@pytest.fixture
def liar(valkey: ValkeyServer) -> Iterator[Liar]:
    with Liar(valkey.port) as liar:
        yield liar


@pytest.fixture
def lied_to(settings: Settings, liar: Liar) -> Settings:
    return replace(settings, redis_host=HOST, redis_port=liar.port, timeout=TIMEOUT)


def _commands_sent() -> Iterator[tuple[str, ...]]:
    """The constant words at the beginning of every command that stands in the package's source as a tuple."""
    for path in sorted(Path(checkout_cli.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant):
                words = [part.value for part in node.elts if isinstance(part, ast.Constant)]
                if isinstance(words[0], str) and words[0].split("-")[0].isupper() and len(words[0]) > 2:
                    yield tuple(str(word) for word in words)


def test_every_command_that_the_store_sends_has_a_shape() -> None:
    known = {name.split()[0] for name in SHAPES}
    sent = [words for words in _commands_sent() if words[0] in known]
    assert len({words[0] for words in sent}) > 30
    without = {words[:2] for words in sent if shape_of(words) is anything}
    assert not without


def test_every_script_says_what_it_returns() -> None:
    assert SCRIPTS
    assert all(script.reply is not anything for script in SCRIPTS.values())


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("command", ["GETEX", "EVALSHA", "INFO", "ZADD", "TYPE", "*"])
def test_whatever_a_server_answers_the_database_serves(lied_to: Settings, liar: Liar, command: str, lie: bytes) -> None:
    """Every call of the library is answered, and its writes are kept: whatever Redis says, it says it about itself."""
    with make_store(lied_to) as store:
        store.database.create_schema()
        store.create({"paymentAttempts": 0}, checkout_id=ID)
        liar.lies[command] = instead(lie)
        store.update(ID, {"paymentAttempts": 1})
        assert store.get(ID).fields["paymentAttempts"] == 1
        store.create({}, checkout_id="session-0002")
        assert not store.get("session-0002").fields.get("paymentAttempts")
        store.delete("session-0002")
        liar.lies.clear()
    with make_store(replace(lied_to, enable_checkout_sessions=False)) as apart:
        assert apart.get(ID).fields["paymentAttempts"] == 1


@pytest.mark.parametrize("lie", ["a number", "no array", "an array of two", "an error in an array"])
def test_a_reply_of_another_type_is_an_unavailable_server(lied_to: Settings, liar: Liar, lie: str) -> None:
    redis = RedisAdmin(lied_to)
    liar.lies["TIME"] = instead(LIES[lie])
    with pytest.raises(WrongServer, match="does not answer as Redis does") as refused:
        redis.time()
    assert isinstance(refused.value, RedisUnavailable)
    assert refused.value.exit_code == 78


def test_without_the_border_a_reply_of_another_type_reaches_the_caller(
    lied_to: Settings, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the lie is one that matters, and only the border keeps it out."""
    monkeypatch.setattr(redis_server, "check_shapes", lambda *_: None)
    liar.lies["TIME"] = instead(LIES["a number"])
    with pytest.raises(TypeError):
        RedisAdmin(lied_to).time()


def test_a_reply_that_no_parser_survives_is_an_unavailable_server(lied_to: Settings, liar: Liar) -> None:
    liar.lies["TIME"] = instead(LIES["a redirection to nowhere"])
    with pytest.raises(WrongServer):
        RedisAdmin(lied_to).time()


def test_without_that_border_a_parsers_own_error_reaches_the_caller(
    lied_to: Settings, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    for border in (pipeline, server):
        monkeypatch.setattr(border, "MALFORMED", ())
    liar.lies["TIME"] = instead(LIES["a redirection to nowhere"])
    with pytest.raises(ValueError, match="not enough values"):
        RedisAdmin(lied_to).time()


SLOTS = {
    "a range without an end": b"*1\r\n*1\r\n:0\r\n",
    "a range of strings": b"*1\r\n*3\r\n$1\r\n0\r\n$1\r\n9\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
    "more slots than there are": b"*1\r\n*3\r\n:0\r\n:999999999\r\n*2\r\n$9\r\n127.0.0.1\r\n:6379\r\n",
    "a range the wrong way round": b"*1\r\n*3\r\n:9\r\n:0\r\n*2\r\n$9\r\n127.0.0.1\r\n:6379\r\n",
    "a port that cannot be": b"*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n$9\r\n127.0.0.1\r\n:99999\r\n",
    "a node without a port": b"*1\r\n*3\r\n:0\r\n:9\r\n*1\r\n$9\r\n127.0.0.1\r\n",
    "no ranges": b":0\r\n",
}


@pytest.mark.parametrize("slots", SLOTS.values(), ids=SLOTS)
def test_a_cluster_that_names_impossible_slots_is_unavailable(lied_to: Settings, liar: Liar, slots: bytes) -> None:
    liar.lies["CLUSTER SLOTS"] = instead(slots)
    cluster = RedisCluster(replace(lied_to, redis_mode="cluster"), elapsed=time.monotonic, jitter=lambda: 1.0)
    with pytest.raises(RedisUnavailable):
        cluster.server_of(b"checkout:session:session-0001")
    cluster.close()


@pytest.mark.parametrize("target", [b"99999 127.0.0.1:6379", b"1 127.0.0.1:0", b"1 127.0.0.1:99999", b"x y:z"])
def test_a_redirection_to_an_impossible_place_is_not_followed(lied_to: Settings, liar: Liar, target: bytes) -> None:
    here = f"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{liar.port}\r\n"
    liar.lies = {"CLUSTER SLOTS": instead(here.encode()), "GET": instead(b"-MOVED " + target + b"\r\n")}
    cluster = RedisCluster(replace(lied_to, redis_mode="cluster"), elapsed=time.monotonic, jitter=lambda: 1.0)
    _, (reply,) = cluster.exchange([("GET", b"checkout:session:session-0001")])
    assert isinstance(reply, RedisUnavailable)
    cluster.close()


def test_a_cluster_may_send_us_to_allowed_hosts_only(lied_to: Settings, liar: Liar) -> None:
    """The password would go along; a negative control is the same redirection with the host allowed."""
    here = f"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{liar.port}\r\n"
    elsewhere = f"-MOVED 1 127.0.0.2:{liar.port}\r\n"
    liar.lies = {"CLUSTER SLOTS": instead(here.encode()), "GET": instead(elsewhere.encode())}
    outcomes = {}
    for allowed in ("10.0.0.0/8", "127.0.0.0/8"):
        clustered = replace(lied_to, redis_mode="cluster", redis_allowed_hosts=allowed)
        cluster = RedisCluster(clustered, elapsed=time.monotonic, jitter=lambda: 1.0)
        _, (reply,) = cluster.exchange([("GET", b"checkout:session:session-0001")])
        outcomes[allowed] = str(reply)
        cluster.close()
    assert "REDIS_ALLOWED_HOSTS does not name" in outcomes["10.0.0.0/8"]
    assert "REDIS_ALLOWED_HOSTS" not in outcomes["127.0.0.0/8"]


@pytest.mark.parametrize("tell", [dripping(0.05), endless], ids=["drips", "never ends"])
def test_a_slow_or_endless_reply_costs_one_time_out(lied_to: Settings, liar: Liar, tell: Tell) -> None:
    redis = RedisAdmin(lied_to)
    redis.ping()
    liar.lies["TIME"] = tell
    started = time.monotonic()
    with pytest.raises(RedisUnavailable):
        redis.time()
    assert time.monotonic() - started < 10 * TIMEOUT


def test_without_the_deadline_a_dripping_reply_is_waited_for(
    lied_to: Settings, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: each byte comes within the time-out, so that a socket's own would never end it."""
    monkeypatch.setattr(bounded.BoundedSocket, "_shorten", lambda _: None)
    liar.lies["TIME"] = _drip
    assert RedisAdmin(lied_to).time() > 0
    monkeypatch.undo()
    with pytest.raises(RedisUnavailable):
        RedisAdmin(lied_to).time()


def _drip(client: object, reply: bytes) -> None:
    for place in range(len(reply)):
        client.sendall(reply[place : place + 1])  # type: ignore[attr-defined]
        time.sleep(TIMEOUT / 10)


def test_more_than_any_reply_is_refused_and_the_server_stays_in_use(
    lied_to: Settings, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded.BoundedSocket.__init__, "__defaults__", (50_000,))
    redis = RedisAdmin(replace(lied_to, timeout=5))
    liar.lies["TIME"] = instead(b"$100000\r\n" + b"x" * 100_000 + b"\r\n")
    with pytest.raises(ReplyTooLarge):
        redis.time()
    liar.lies.clear()
    assert redis.time() > 0


def test_a_handshake_that_drips_costs_one_time_out(lied_to: Settings, liar: Liar) -> None:
    liar.lies["INFO"] = dripping(0.05)
    started = time.monotonic()
    with pytest.raises(RedisUnavailable):
        RedisAdmin(lied_to).ping()
    assert time.monotonic() - started < 10 * TIMEOUT


def test_a_session_is_read_from_the_database_while_redis_drips(lied_to: Settings, liar: Liar) -> None:
    with make_store(lied_to) as store:
        store.database.create_schema()
        store.create({}, checkout_id=ID)
        liar.lies["*"] = dripping(0.05)
        started = time.monotonic()
        assert store.get(ID).tier is TierName.DATABASE
        assert time.monotonic() - started < 10 * TIMEOUT


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        *[(raw, raw.decode()) for raw in (b"string", b"zset", b"ReJSON-RL", b"MBbloom--", b"none")],
        *[(raw, "value of an unknown type") for raw in (b"jane@example.org", b"", b"+4917055", b"a b", b"x\x1b[2J")],
    ],
)
def test_the_name_of_a_type_is_one_word_or_not_told(raw: bytes, name: str) -> None:
    assert type_name(raw) == name

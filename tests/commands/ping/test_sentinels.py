"""What the commands say where Redis is found through Sentinels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.commands.config.check import check
from checkout_cli.commands.health.health import HealthCheck
from checkout_cli.commands.ping.ping import Ping
from checkout_cli.commands.ping.summary import PingSummary, Stage
from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, CheckoutError, RedisUnavailable
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.redis.connection import connection_pool, primary_address, translated
from tests.support.ports import free_port
from tests.support.sentinel import SERVICE, Replicated


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    with Replicated(tmp_path_factory.mktemp("sentinel")) as servers:
        yield servers


@pytest.fixture
def behind_sentinel(replicated: Replicated, settings: Settings) -> Settings:
    return replace(
        settings,
        redis_port=1,  # nothing listens there, and nobody looks
        redis_sentinels=f"{HOST}:{replicated.port}",
        redis_sentinel_service=SERVICE,
    )


def pinged(settings: Settings) -> PingSummary:
    pinging = Ping(settings, count=1)
    for _ in pinging.events():
        pass
    return pinging.summary


def test_a_ping_goes_to_the_primary_that_the_sentinels_name(replicated: Replicated, behind_sentinel: Settings) -> None:
    summary = pinged(behind_sentinel)
    assert (summary.failure, summary.answered) == (None, 1)
    assert (summary.host, summary.port) == (HOST, replicated.primary_port())
    assert summary.connected is not None
    assert list(summary.connected.stages) == [Stage.SENTINEL, Stage.DNS, Stage.TCP]


def test_a_sentinel_that_is_away_does_not_matter_while_another_answers(
    replicated: Replicated, behind_sentinel: Settings
) -> None:
    several = replace(behind_sentinel, redis_sentinels=f"{HOST}:{free_port()}, {behind_sentinel.redis_sentinels}")
    assert pinged(several).port == replicated.primary_port()


def test_without_a_sentinel_that_answers_the_ping_says_so(behind_sentinel: Settings) -> None:
    nowhere = f"{HOST}:{free_port()}"
    failure = pinged(replace(behind_sentinel, redis_sentinels=nowhere)).failure
    assert failure is not None
    assert failure.stage is Stage.SENTINEL
    assert isinstance(failure.error, RedisUnavailable)
    assert (
        str(failure.error)
        == f"the Sentinels {nowhere} name no primary of 'checkout' (REDIS_SENTINEL_SERVICE), and not all could be asked"
    )
    assert failure.error.hint.startswith("redis-cli -h ")


def test_a_service_that_the_sentinels_do_not_know_is_named(behind_sentinel: Settings) -> None:
    with pytest.raises(RedisUnavailable, match=r"name no primary of 'another' "):
        primary_address(replace(behind_sentinel, redis_sentinel_service="another"), 1)


def test_a_wrong_password_of_the_sentinels_is_told_from_one_of_redis(
    replicated: Replicated, behind_sentinel: Settings
) -> None:
    with replicated.sentinel() as client:  # its one connection stays as it is
        client.execute_command("ACL", "SETUSER", "default", "resetpass", ">hush")
        try:
            with pytest.raises(AccessDenied, match="deny access") as refusal:
                primary_address(behind_sentinel, 1)
            assert refusal.value.hint == "checkoutctl config set REDIS_SENTINEL_PASSWORD"
            right = replace(behind_sentinel, redis_sentinel_password="hush")
            assert primary_address(right, 1)[0] == HOST
        finally:
            client.execute_command("ACL", "SETUSER", "default", "nopass")


def test_health_looks_at_the_primary(behind_sentinel: Settings) -> None:
    report = HealthCheck(lambda: behind_sentinel).look()
    assert report.redis.connected


def test_an_error_of_the_pool_names_the_sentinels_and_not_an_unused_host(settings: Settings) -> None:
    pool = connection_pool(replace(settings, redis_host="unused", redis_sentinels=f"{HOST}:{free_port()}"))
    with pytest.raises(Exception) as failure:  # noqa: PT011  (redis-py's)
        pool.get_connection()
    explained = translated(failure.value, replace(settings, redis_host="unused", redis_sentinels="sentinel:1"))
    assert isinstance(explained, CheckoutError)
    assert "the Sentinels sentinel:1" in str(explained)
    assert "unused" not in str(explained)


@pytest.mark.parametrize(
    "wrong", ["sentinel", "sentinel:", ":26379", "a:1,,b:2", "redis://a:1", "a:0", "a b:1", "a:1x"]
)
def test_what_is_no_list_of_sentinels_is_refused(wrong: str, tmp_path: Path) -> None:
    (finding,) = check(tmp_path, environ={"REDIS_SENTINELS": wrong}).findings
    assert finding.subject == "REDIS_SENTINELS"


def test_addresses_of_both_kinds_are_understood(tmp_path: Path) -> None:
    settings = Settings.load(environ={"REDIS_SENTINELS": "10.0.0.1:26379, [fd00::1]:26380"}, directory=tmp_path)
    assert settings.sentinels() == [("10.0.0.1", 26379), ("fd00::1", 26380)]


def test_a_host_beside_the_sentinels_and_sentinels_elsewhere_without_tls_are_findings(tmp_path: Path) -> None:
    found = check(tmp_path, environ={"REDIS_SENTINELS": "10.0.0.1:26379", "REDIS_HOST": "redis.example"}).findings
    assert [finding.subject for finding in found] == ["REDIS_TLS", "REDIS_HOST"]
    assert "10.0.0.1" in found[0].evidence
    assert check(tmp_path, environ={"REDIS_SENTINELS": "127.0.0.1:26379"}).findings == ()

"""TLS where there is more than one server: Sentinels and the nodes of a cluster, on Debian's Redis."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from checkout_cli.commands.health.health import HealthCheck
from checkout_cli.commands.ping.ping import Ping
from checkout_cli.commands.ping.summary import PingSummary, Stage
from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, CheckoutError, ConfigurationError, ExitCode, RedisUnavailable
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.connection import primary_address
from tests.support.certificates import Authority, server_options
from tests.support.doctoring import finding
from tests.support.ports import free_port
from tests.support.servers import RedisServer
from tests.support.stores import wait_until

SERVICE = "checkout"

pytestmark = pytest.mark.needs("redis-server", "openssl")

_SENTINEL = """\
bind {host}
port {plain}
dir {directory}
tls-port {port}
tls-replication yes
tls-auth-clients no
tls-cert-file {certificate}
tls-key-file {key}
tls-ca-cert-file {authority}
sentinel monitor {service} {host} {primary} 1
requirepass s3cret
"""


@dataclass
class Guarded:
    """A primary and a Sentinel that both speak TLS, and the authority of their certificates."""

    directory: Path
    authority: Authority
    other: Authority
    primary: int
    sentinel: int
    plain_sentinel: int

    def settings(self, **changes: object) -> Settings:
        settings = Settings(
            redis_tls=True,
            redis_tls_ca_file=str(self.authority.path),
            redis_sentinels=f"{HOST}:{self.sentinel}",
            redis_sentinel_service=SERVICE,
            redis_sentinel_password="s3cret",
            database_url=f"sqlite:///{self.directory / 'checkout.db'}",
            timeout=2.0,
        )
        return replace(settings, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    authority, other = Authority(directory / "ca"), Authority(directory / "other")
    certificate = authority.issue(f"IP:{HOST}", ends=20)
    found = Guarded(directory, authority, other, free_port(), free_port(), free_port())
    primary = RedisServer(directory / "primary", *server_options(found.primary, certificate, authority))
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        _SENTINEL.format(
            host=HOST,
            plain=found.plain_sentinel,
            directory=directory,
            port=found.sentinel,
            certificate=certificate.path,
            key=certificate.key,
            authority=authority.path,
            service=SERVICE,
            primary=found.primary,
        )
    )
    process: subprocess.Popen[bytes] | None = None
    try:
        primary.start()
        process = subprocess.Popen(
            ["redis-server", configuration, "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: names_primary(found.settings()), 10)
        yield found
    finally:
        if process is not None:
            process.kill()
            process.wait()
        primary.kill()


def names_primary(settings: Settings) -> bool:
    with suppress(CheckoutError):
        return bool(primary_address(settings, 1.0))
    return False


def pinged(settings: Settings) -> PingSummary:
    ping = Ping(settings, count=1)
    for _ in ping.events():
        pass
    return ping.summary


def failure_at_sentinel(settings: Settings) -> CheckoutError:
    failure = pinged(settings).failure
    assert failure is not None
    assert failure.stage is Stage.SENTINEL
    return failure.error


def test_a_server_that_hangs_in_the_handshake_costs_the_store_one_time_out() -> None:
    with socket.create_server((HOST, 0)) as silent:
        tier = RedisAdmin(Settings(redis_host=HOST, redis_port=silent.getsockname()[1], redis_tls=True, timeout=0.4))
        began = time.monotonic()
        try:
            with pytest.raises(RedisUnavailable, match="did not answer in time"):
                tier.ping()
        finally:
            tier.close()
        assert 0.3 < time.monotonic() - began < 0.7


class TestSentinels:
    def test_primary_and_sentinels_are_reached_over_tls(self, guarded: Guarded) -> None:
        summary = pinged(guarded.settings())
        assert summary.failure is None
        assert summary.port == guarded.primary
        tier = RedisAdmin(guarded.settings())
        try:
            assert tier.ping() < 2
        finally:
            tier.close()

    def test_sentinels_without_tls_have_a_switch_of_their_own(self, guarded: Guarded) -> None:
        plain = guarded.settings(redis_sentinels=f"{HOST}:{guarded.plain_sentinel}", redis_sentinel_tls="false")
        assert pinged(plain).failure is None

    def test_a_sentinel_of_another_ca_is_told(self, guarded: Guarded) -> None:
        wrong = guarded.settings(redis_tls_ca_file=str(guarded.other.path))
        error = failure_at_sentinel(wrong)
        assert error.exit_code is ExitCode.CONFIGURATION
        assert f"the certificate of the Sentinel at {HOST}:{guarded.sentinel} is not signed" in str(error)
        assert f"-connect {HOST}:{guarded.sentinel}" in error.hint

    def test_a_sentinel_of_another_name_is_told(self, guarded: Guarded) -> None:
        error = failure_at_sentinel(guarded.settings(redis_tls_server_name="sentinel.example"))
        assert error.exit_code is ExitCode.CONFIGURATION
        assert "another name than 'sentinel.example'" in str(error)

    def test_a_sentinel_without_tls_is_told(self, guarded: Guarded) -> None:
        error = failure_at_sentinel(guarded.settings(redis_sentinels=f"{HOST}:{guarded.plain_sentinel}"))
        assert isinstance(error, ConfigurationError)
        assert "REDIS_SENTINEL_TLS=false" in error.hint

    def test_a_sentinel_that_wants_tls_is_told(self, guarded: Guarded) -> None:
        error = failure_at_sentinel(guarded.settings(redis_sentinel_tls="false"))
        assert isinstance(error, ConfigurationError)
        assert "REDIS_SENTINEL_TLS=true" in error.hint

    def test_health_says_so_too(self, guarded: Guarded) -> None:
        settings = guarded.settings(redis_tls_ca_file=str(guarded.other.path))
        problem = HealthCheck(lambda: settings).look().redis.problem
        assert "the certificate of the Sentinel" in str(problem)
        settings = guarded.settings(redis_sentinel_tls="false")
        assert "wants TLS" in str(HealthCheck(lambda: settings).look().redis.problem)

    def test_their_password_may_be_in_a_file_and_is_needed(self, guarded: Guarded, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text("s3cret\n")
        settings = guarded.settings(redis_sentinel_password="", redis_sentinel_password_file=str(file))
        assert pinged(settings).failure is None
        user = replace(settings, redis_sentinel_username="default")
        assert pinged(user).failure is None
        file.write_text("wrong\n")
        assert isinstance(failure_at_sentinel(settings), AccessDenied)

    def test_doctor_counts_the_days_of_all_certificates(self, guarded: Guarded, tmp_path: Path) -> None:
        found = finding(guarded.settings(), "certificate", tmp_path)
        assert str(found.status) == "warn"
        assert found.numbers["certificates"] == 2
        assert found.numbers["days"] in {19, 20}

    def test_doctor_names_the_sentinel_whose_certificate_is_wrong(self, guarded: Guarded, tmp_path: Path) -> None:
        stale = guarded.authority.issue(f"IP:{HOST}", begins=-9, ends=-1)
        port = free_port()
        server = RedisServer(tmp_path / "stale", *server_options(port, stale, guarded.authority))
        server.start()  # only its certificate is looked at, which it shows to anybody
        try:
            both = f"{HOST}:{guarded.sentinel},{HOST}:{port}"
            found = finding(guarded.settings(redis_sentinels=both), "certificate", tmp_path)
        finally:
            server.kill()
        assert str(found.status) == "crit"
        assert f"the Sentinel at {HOST}:{port} has expired" in found.evidence


@pytest.fixture(scope="module")
def cluster(guarded: Guarded) -> Iterator[Settings]:
    """Two primaries; the second one's certificate ends sooner."""
    nodes = []
    try:
        for number, days in enumerate((90, 20)):
            port = free_port()
            certificate = guarded.authority.issue(f"IP:{HOST}", ends=days)
            node = RedisServer(
                guarded.directory / f"node-{number}",
                *server_options(port, certificate, guarded.authority),
                *("--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(free_port())),
                *("--cluster-require-full-coverage", "no"),
            )
            node.start()
            nodes.append((node, port))
        for number, (node, _) in enumerate(nodes):
            with node.client(socket_timeout=5) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 8192, number * 8192 + 8191)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        with nodes[1][0].client(socket_timeout=5) as client:
            bus = int(client.config_get("cluster-port")["cluster-port"])
        with nodes[0][0].client(socket_timeout=5) as client:
            client.execute_command("CLUSTER", "MEET", HOST, nodes[1][1], bus)
        for node, _ in nodes:
            with node.client(socket_timeout=5) as client:
                wait_until(
                    lambda client=client: client.cluster("info")["cluster_slots_ok"] == "16384",  # type: ignore[misc]
                    15,
                )
        yield guarded.settings(redis_sentinels="", redis_mode="cluster", redis_host=HOST, redis_port=nodes[0][1])
    finally:
        for node, _ in nodes:
            node.kill()


class TestCluster:
    def test_every_node_is_reached_over_tls(self, cluster: Settings) -> None:
        tier = RedisAdmin(cluster)
        try:
            assert len(tier.servers()) == 2
            assert tier.ping() < 2
            assert {server.ask(("PING",)) for server in tier.servers()} == {b"PONG"}
        finally:
            tier.close()

    def test_a_wrong_ca_is_told(self, cluster: Settings, guarded: Guarded) -> None:
        wrong = replace(cluster, redis_tls_ca_file=str(guarded.other.path))
        tier = RedisAdmin(wrong)
        try:
            with pytest.raises(ConfigurationError, match="is not signed by a CA"):
                tier.ping()
        finally:
            tier.close()

    def test_a_node_that_wants_tls_is_told(self, cluster: Settings) -> None:
        plain = replace(cluster, redis_tls=False, redis_tls_ca_file="")
        assert "wants TLS" in str(HealthCheck(lambda: plain).look().redis.problem)

    def test_doctor_looks_at_the_certificate_of_every_node(self, cluster: Settings, tmp_path: Path) -> None:
        found = finding(cluster, "certificate", tmp_path)
        assert str(found.status) == "warn"
        assert found.numbers["certificates"] == 2
        assert found.numbers["days"] in {19, 20}

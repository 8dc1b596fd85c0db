"""TLS on Debian's Redis: every way in which it fails is told apart, in one line, with what to type next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest

from checkout_cli.errors import ExitCode
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.redis import tls
from tests.support.certificates import Authority, Certificate, locked, server_options
from tests.support.in_process import Outcome, run_here
from tests.support.ports import free_port
from tests.support.servers import RedisServer

KEY_PASSWORD = "0p3n-s3s4me"

pytestmark = pytest.mark.needs("redis-server", "openssl")


@dataclass
class Setting:
    """The servers, and the files to reach them with."""

    directory: Path
    authority: Authority
    other: Authority
    client: Certificate
    ports: dict[str, int] = field(default_factory=dict)
    plain: int = 0

    def environment(self, server: str = "good", **changes: str) -> dict[str, str]:
        """What reaches a server; an empty change leaves a variable out."""
        variables = {
            "HOME": str(self.directory),
            "REDIS_HOST": "localhost",
            "REDIS_PORT": str(self.ports[server]),
            "REDIS_TLS": "true",
            "REDIS_TLS_CA_FILE": str(self.authority.path),
            "DATABASE_URL": f"sqlite:///{self.directory / 'checkout.db'}",
            **changes,
        }
        return {name: value for name, value in variables.items() if value}

    def file(self, name: str, content: bytes) -> str:
        """A file of the test's own."""
        path = self.directory / name
        path.write_bytes(content)
        return str(path)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory / "ca")
    setting = Setting(directory, authority, Authority(directory / "other"), authority.issue("DNS:shop"))
    certificates = {
        "good": authority.issue("DNS:localhost", "IP:::1"),
        "expired": authority.issue("DNS:localhost", begins=-20, ends=-1),
        "early": authority.issue("DNS:localhost", begins=3, ends=30),
        "strict": authority.issue("DNS:localhost"),
        "soon": authority.issue("DNS:localhost", ends=5),
    }
    started = []
    try:
        for name, certificate in certificates.items():
            port = free_port()
            clients = "yes" if name == "strict" else "no"
            options = server_options(port, certificate, authority, clients=clients)
            server = RedisServer(directory / name, *options, "--bind", HOST, "::1")
            started.append(server)
            server.start()
            setting.ports[name] = port
        setting.plain = setting.ports["plain"] = started[0].port
        yield setting
    finally:
        for server in started:
            server.kill()


def run(servers: Setting, *arguments: str, **environment: str) -> Outcome:
    return run_here(arguments, environment, servers.directory)


def ping(servers: Setting, server: str = "good", **changes: str) -> Outcome:
    return run(servers, "ping", "--count", "1", **servers.environment(server, **changes))


CONFIGURATION, UNAVAILABLE, DENIED = ExitCode.CONFIGURATION, ExitCode.UNAVAILABLE, ExitCode.DENIED


def cases(servers: Setting) -> dict[str, tuple[dict[str, str], ExitCode, str, str]]:
    """Each trouble: the environment, the exit code, a part of the line that tells it, and of what to type next."""
    client, key = str(servers.client.path), str(servers.client.key)
    foreign = servers.other.issue("DNS:shop")
    own = {"REDIS_TLS_CERT_FILE": client, "REDIS_TLS_KEY_FILE": key}
    good, strict = servers.environment, lambda **more: servers.environment("strict", **more)
    return {
        "wrong CA": (
            good(REDIS_TLS_CA_FILE=str(servers.other.path)),
            CONFIGURATION,
            "is not signed by a CA in REDIS_TLS_CA_FILE",
            "openssl s_client -connect localhost:",
        ),
        "no CA": (
            good(REDIS_TLS_CA_FILE=""),
            CONFIGURATION,
            "is not to be trusted",
            "set REDIS_TLS_CA_FILE",
        ),
        "wrong host": (
            good(REDIS_HOST=HOST),
            CONFIGURATION,
            "is for another name than '127.0.0.1'",
            "REDIS_TLS_SERVER_NAME",
        ),
        "expired": (servers.environment("expired"), UNAVAILABLE, "has expired", "renew it on the server"),
        "not valid yet": (servers.environment("early"), UNAVAILABLE, "is not valid yet", "is this clock right?"),
        "TLS to a plain port": (servers.environment("plain"), CONFIGURATION, "does not speak TLS", "REDIS_TLS=false"),
        "plain to a TLS port": (
            good(REDIS_TLS="", REDIS_TLS_CA_FILE=""),
            CONFIGURATION,
            "wants TLS, and REDIS_TLS is off",
            "set REDIS_TLS=true",
        ),
        "no client certificate": (
            strict(),
            DENIED,
            "wants a certificate of ours",
            "set REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE",
        ),
        "a client certificate of another CA": (
            strict(REDIS_TLS_CERT_FILE=str(foreign.path), REDIS_TLS_KEY_FILE=str(foreign.key)),
            DENIED,
            "refuses our certificate: it does not know the CA",
            "openssl x509 -noout",
        ),
        "a key as certificate": (
            strict(**own | {"REDIS_TLS_CERT_FILE": key}),
            CONFIGURATION,
            "it is a private key, not a certificate",
            "set REDIS_TLS_CERT_FILE",
        ),
        "a certificate as key": (
            strict(**own | {"REDIS_TLS_KEY_FILE": client}),
            CONFIGURATION,
            "it is a certificate, not a private key",
            "set REDIS_TLS_KEY_FILE",
        ),
        "another key": (
            strict(**own | {"REDIS_TLS_KEY_FILE": str(foreign.key)}),
            CONFIGURATION,
            "the key does not belong to the certificate",
            "openssl pkey -pubout",
        ),
        "a certificate without a key": (
            strict(REDIS_TLS_CERT_FILE=client),
            CONFIGURATION,
            "it has no private key in it",
            "set REDIS_TLS_KEY_FILE",
        ),
        "a key without a certificate": (
            strict(REDIS_TLS_KEY_FILE=key),
            CONFIGURATION,
            "there is no certificate for it",
            "set REDIS_TLS_CERT_FILE",
        ),
        "a locked key": (
            strict(**own | {"REDIS_TLS_KEY_FILE": str(locked(servers.client.key, KEY_PASSWORD))}),
            CONFIGURATION,
            "the key has a password",
            "set REDIS_TLS_KEY_PASSWORD",
        ),
        "a locked key and a wrong password": (
            strict(
                **own | {"REDIS_TLS_KEY_FILE": str(locked(servers.client.key, KEY_PASSWORD))},
                REDIS_TLS_KEY_PASSWORD="canary-pw",
            ),
            CONFIGURATION,
            "REDIS_TLS_KEY_PASSWORD does not open it",
            "set REDIS_TLS_KEY_PASSWORD",
        ),
        "a missing CA file": (
            good(REDIS_TLS_CA_FILE="/no/such/ca.pem"),
            CONFIGURATION,
            "/no/such/ca.pem: No such file",
            "ls -l",
        ),
        "a directory as CA file": (
            good(REDIS_TLS_CA_FILE=str(servers.directory)),
            CONFIGURATION,
            "Is a directory",
            "ls -l",
        ),
        "a CA file that is no PEM file": (
            good(REDIS_TLS_CA_FILE=servers.file("ca.der", b"\x30\x82\x01")),
            CONFIGURATION,
            "it is not a PEM file",
            "-inform DER",
        ),
        "a broken CA file": (
            good(
                REDIS_TLS_CA_FILE=servers.file(
                    "broken.pem", b"-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n"
                )
            ),
            CONFIGURATION,
            "what is in it is broken",
            "openssl asn1parse",
        ),
    }


NAMES = [
    *("wrong CA", "no CA", "wrong host", "expired", "not valid yet", "TLS to a plain port", "plain to a TLS port"),
    *("no client certificate", "a client certificate of another CA", "a key as certificate", "a certificate as key"),
    *("another key", "a certificate without a key", "a key without a certificate", "a locked key"),
    *("a locked key and a wrong password", "a missing CA file", "a directory as CA file"),
    *("a CA file that is no PEM file", "a broken CA file"),
]
IN_FILES = [name for name in NAMES if " key" in name or "file" in name]
"""Those that can be seen without asking a server."""


@pytest.fixture(scope="module")
def troubles(servers: Setting) -> dict[str, tuple[dict[str, str], ExitCode, str, str]]:
    found = cases(servers)
    assert list(found) == NAMES
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_ping_tells_the_trouble_in_one_line_with_its_exit_code_and_what_to_type(
    servers: Setting, troubles: dict[str, tuple[dict[str, str], ExitCode, str, str]], name: str
) -> None:
    environment, code, words, hint = troubles[name]
    outcome = run(servers, "ping", "--count", "1", **environment)
    assert outcome.code == code, outcome.err
    error, *hints = outcome.err.strip().splitlines()
    assert words in error
    assert hint in " ".join(hints)
    assert hints[-1].startswith("next: ")
    assert len(hints) <= 2
    others = [other for trouble, (_, _, other, _) in troubles.items() if trouble != name and other != words]
    assert not [other for other in others if other in outcome.err]
    assert "canary" not in outcome.err


@pytest.mark.parametrize("name", NAMES)
def test_health_and_setup_tell_the_same_trouble(
    servers: Setting, troubles: dict[str, tuple[dict[str, str], ExitCode, str, str]], name: str
) -> None:
    environment, _, words, _ = troubles[name]
    in_health = CONFIGURATION if name in IN_FILES else UNAVAILABLE  # there is no database either
    for arguments, codes in (("health", {in_health}), ("setup --check", {ExitCode.FINDING, DENIED})):
        outcome = run(servers, *arguments.split(), "--json", **environment)
        assert outcome.code in codes
        assert words in outcome.out
        assert "canary" not in outcome.out + outcome.err


@pytest.mark.parametrize("name", NAMES)
def test_config_check_finds_what_is_wrong_with_the_files_alone(
    servers: Setting, troubles: dict[str, tuple[dict[str, str], ExitCode, str, str]], name: str
) -> None:
    environment, _, words, _ = troubles[name]
    outcome = run(servers, "config", "check", "--json", **environment)
    assert outcome.code == (CONFIGURATION if name in IN_FILES else 0), outcome.out
    assert (words in outcome.out) is (name in IN_FILES), outcome.out


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("wrong CA", "certificate"),
        ("wrong host", "certificate"),
        ("expired", "certificate"),
        ("not valid yet", "certificate"),
        ("TLS to a plain port", "TLS mismatch"),
        ("plain to a TLS port", "TLS mismatch"),
        ("no client certificate", "certificate"),
    ],
)
def test_doctor_names_the_trouble(
    servers: Setting,
    troubles: dict[str, tuple[dict[str, str], ExitCode, str, str]],
    name: str,
    trouble: str,
) -> None:
    environment, _, words, hint = troubles[name]
    outcome = run(servers, "doctor", "--only", "connect", "--json", **environment)
    (document,) = outcome.documents
    (check,) = document["checks"]
    assert words in check["evidence"]
    assert f"({trouble})" in check["evidence"]
    assert check["status"] == "crit"
    assert hint in check["fix"]


def test_doctor_names_a_file_that_is_wrong(
    servers: Setting, troubles: dict[str, tuple[dict[str, str], ExitCode, str, str]]
) -> None:
    environment, _, words, _ = troubles["a certificate as key"]
    outcome = run(servers, "doctor", "--only", "configuration", "--json", **environment)
    (check,) = json.loads(outcome.out)["checks"]
    assert check["status"] == "crit"
    assert words in check["evidence"]


def test_without_verification_the_wrong_ca_would_not_be_noticed(servers: Setting) -> None:
    """The negative control of the tests above: it is our verification that refuses."""
    import ssl

    real = tls.tls_context

    def unverified(settings: tls.Settings) -> ssl.SSLContext:
        context = real(settings)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    wrong = {"REDIS_TLS_CA_FILE": str(servers.other.path)}
    assert ping(servers, **wrong).code == CONFIGURATION
    with mock.patch.object(tls, "tls_context", unverified):
        assert ping(servers, **wrong).code == 0


def test_all_is_well_with_the_right_files(servers: Setting) -> None:
    assert ping(servers).code == 0
    own = {"REDIS_TLS_CERT_FILE": str(servers.client.path), "REDIS_TLS_KEY_FILE": str(servers.client.key)}
    assert ping(servers, "strict", **own).code == 0
    opened = own | {"REDIS_TLS_KEY_FILE": str(locked(servers.client.key, KEY_PASSWORD))}
    assert ping(servers, "strict", **opened, REDIS_TLS_KEY_PASSWORD=KEY_PASSWORD).code == 0
    both = servers.file("both.pem", servers.client.path.read_bytes() + servers.client.key.read_bytes())
    assert ping(servers, "strict", REDIS_TLS_CERT_FILE=both).code == 0
    outcome = run(servers, "setup", "--check", "--json", **servers.environment("strict", **own))
    assert f"port {servers.ports['strict']} answers" in outcome.out


def test_a_certificate_for_another_name_is_right_where_that_name_is_expected(servers: Setting) -> None:
    assert ping(servers, REDIS_HOST=HOST, REDIS_TLS_SERVER_NAME="localhost").code == 0
    outcome = ping(servers, REDIS_TLS_SERVER_NAME="redis.example")
    assert outcome.code == CONFIGURATION
    assert "another name than 'redis.example'" in outcome.err


def test_a_url_has_tls_user_and_password_in_it(servers: Setting) -> None:
    ports = servers.ports
    base = {"REDIS_HOST": "", "REDIS_PORT": "", "REDIS_TLS": ""}
    assert ping(servers, **base, REDIS_URL=f"rediss://localhost:{ports['good']}/0").code == 0
    assert ping(servers, **base, REDIS_URL=f"rediss://[::1]:{ports['good']}").code == 0
    plain = ping(servers, **base, REDIS_TLS_CA_FILE="", REDIS_URL=f"redis://localhost:{ports['good']}")
    assert plain.code == CONFIGURATION
    assert "rediss://" in plain.err
    denied = ping(servers, **base, REDIS_URL=f"rediss://shop:canary@localhost:{ports['good']}")
    assert denied.code == DENIED
    assert "canary" not in denied.out + denied.err


def test_doctor_counts_the_days_that_a_certificate_has_left(servers: Setting) -> None:
    for server, status in (("good", "ok"), ("soon", "crit")):
        outcome = run(servers, "doctor", "--only", "certificate", "--json", **servers.environment(server))
        (check,) = json.loads(outcome.out)["checks"]
        assert check["status"] == status
        assert "localhost" in check["evidence"]


def test_doctor_causes_no_refused_connection_by_looking_at_a_certificate(servers: Setting) -> None:
    """Counted by the server, it would be a finding of the next run."""
    own = {"REDIS_TLS_CERT_FILE": str(servers.client.path), "REDIS_TLS_KEY_FILE": str(servers.client.key)}
    environment = servers.environment("strict", **own)

    def refused() -> str:
        info = json.loads(run(servers, "info", "--json", **environment).out)
        return str(info["servers"][0]["sections"]["stats"]["rejected_connections"])

    before = refused()
    assert run(servers, "doctor", "--only", "certificate", **environment).code == 0
    assert refused() == before


def test_doctors_other_checks_hold_over_tls(servers: Setting) -> None:
    outcome = run(servers, "doctor", "--json", **servers.environment())
    found = {check["id"]: check for check in json.loads(outcome.out)["checks"]}
    assert found["connect"]["status"] == "ok"
    assert found["transport"]["evidence"].startswith("TLS is on")
    assert found["write"]["status"] == "ok"

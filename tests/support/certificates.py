"""Certificate authorities and certificates for the tests, made by the ``openssl`` command where it is installed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CONFIGURATION = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = authority
[authority]
database = {directory}/index.txt
new_certs_dir = {directory}
certificate = {directory}/ca.pem
private_key = {directory}/ca.key
rand_serial = yes
default_md = sha256
policy = anything
unique_subject = no
[anything]
commonName = supplied
"""
_LEAF = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, each in a file of its own."""

    path: Path
    key: Path


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, directory: Path, name: str = "a CA of the tests") -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._issued = 0
        self.path = directory / "ca.pem"
        self._configuration = directory / "openssl.cnf"
        self._configuration.write_text(_CONFIGURATION.format(name=name, directory=directory))
        (directory / "index.txt").touch()
        self._key(directory / "ca.key")
        _openssl(
            *("req", "-x509", "-new", "-config", self._configuration, "-extensions", "root", "-days", "400"),
            *("-key", directory / "ca.key", "-out", self.path),
        )

    @staticmethod
    def _key(path: Path) -> None:
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", path)
        path.chmod(0o600)

    def issue(self, *names: str, begins: float = -1, ends: float = 90) -> Certificate:
        """A certificate for names such as ``DNS:localhost``, valid from and until so many days from now."""
        self._issued += 1
        base = self._directory / f"leaf-{self._issued}"
        certificate = Certificate(base.with_suffix(".pem"), base.with_suffix(".key"))
        self._key(certificate.key)
        base.with_suffix(".ext").write_text(_LEAF.format(names=", ".join(names)))
        _openssl(
            *("req", "-new", "-config", self._configuration, "-subj", f"/CN={names[0].partition(':')[2]}"),
            *("-key", certificate.key, "-out", base.with_suffix(".csr")),
        )
        _openssl(
            *("ca", "-batch", "-notext", "-config", self._configuration, "-extfile", base.with_suffix(".ext")),
            *("-startdate", _date(begins), "-enddate", _date(ends)),
            *("-in", base.with_suffix(".csr"), "-out", certificate.path),
        )
        return certificate


def locked(key: Path, password: str) -> Path:
    """A copy of a private key that a password opens."""
    path = key.with_suffix(".locked")
    _openssl("pkey", "-in", key, "-aes128", "-passout", f"pass:{password}", "-out", path)
    path.chmod(0o600)
    return path


def server_options(port: int, certificate: Certificate, authority: Authority, *, clients: str = "no") -> list[str]:
    """The arguments of a Redis that speaks TLS on a port; ``clients`` is whether it wants certificates of them."""
    return [
        *("--tls-port", str(port), "--tls-auth-clients", clients),
        *("--tls-cert-file", str(certificate.path), "--tls-key-file", str(certificate.key)),
        *("--tls-ca-cert-file", str(authority.path)),
    ]


def _date(days: float) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y%m%d%H%M%S}Z"


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""PgBouncer before a test's PostgreSQL: transaction pooling, with all that it refuses by default."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import make_url

from checkout_cli.servers.embedded import HOST
from tests.support.ports import free_port

SERVER_CONNECTIONS = 2
"""Fewer than there are clients, so that each transaction may be of another one."""


def _socket(url: str) -> Path:
    directory = Path(str(make_url(url).query["host"]))
    (server,) = [path for path in directory.glob(".s.PGSQL.*") if path.suffix != ".lock"]
    return server


def _configuration(url: str, port: int, version: tuple[int, ...], settings: dict[str, str]) -> str:
    parsed, server = make_url(url), _socket(url)
    lines = {
        "listen_addr": HOST,
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": str(SERVER_CONNECTIONS),
        "ignore_startup_parameters": "",
        **({"max_prepared_statements": "0"} if version >= (1, 21) else {}),  # older ones know of none
        **settings,
    }
    place = f"host={server.parent} port={server.suffix[1:]} dbname={parsed.database} user={parsed.username}"
    options = "\n".join(f"{name} = {value}" for name, value in lines.items())
    return f"[databases]\n{parsed.database} = {place}\n[pgbouncer]\n{options}\n"


@contextmanager
def pgbouncer(url: str, **settings: str) -> Iterator[str]:
    """The URL of a PgBouncer before the PostgreSQL of a URL with a Unix socket."""
    program = shutil.which("pgbouncer")
    assert program is not None, "mark the test: needs pgbouncer"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(map(int, re.findall(r"\d+", told)[:2]))
    port = free_port()
    # Not pytest's directory: it refuses to run as root, and whom it runs as then could not look in there.
    with tempfile.TemporaryDirectory(prefix="checkoutctl-pgbouncer-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        path = directory / "pgbouncer.ini"
        path.write_text(_configuration(url, port, version, settings))
        path.chmod(0o644)
        as_user = ["-u", _socket(url).owner()] if os.geteuid() == 0 else []
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([program, *as_user, str(path)], stdout=log, stderr=log)
        try:
            _wait(process, port, directory / "log")
            yield f"postgresql://{make_url(url).username}@{HOST}:{port}/{make_url(url).database}?sslmode=disable"
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(log.read_text())

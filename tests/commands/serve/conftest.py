"""A served shop: ``checkoutctl serve`` as a process, on a real Redis and a database with sessions in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables, wait_until

TOKEN = "f00dcafe" * 4
CANARY = {"contactInfo": {"name": "Canary Bird", "phone": "+49 170 5550199"}, "userEmail": "canary@shop.example"}


@dataclass
class Served:
    """One server process."""

    process: subprocess.Popen[str]
    port: int
    settings: Settings
    redis: ValkeyServer

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(self.url + path, timeout=15, **options)  # type: ignore[arg-type]

    def post(self, body: object, *, token: str | None = TOKEN, **options: object) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers |= {"Content-Type": "application/json"}
        url = f"{self.url}/api/redis/cleanup"
        return httpx.post(url, headers=headers, timeout=30, **content, **options)  # type: ignore[arg-type]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit code and what it said."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


def started(
    directory: Path,
    redis: ValkeyServer,
    settings: Settings,
    *words: str,
    more: Mapping[str, str] | None = None,
    altered: str = "pass",
) -> Served:
    """Start it, and wait until it answers; ``altered`` is what it runs before, such as to switch a guard off."""
    port = free_port()
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "REDIS_HOST": settings.redis_host,
        "REDIS_PORT": str(settings.redis_port),
        "DATABASE_URL": settings.database_url,
        "CHECKOUT_SERVE_TOKEN": TOKEN,
        **(more or {}),
    }
    program = f"{altered}\nfrom checkout_cli.__main__ import main\nmain()"
    command = [sys.executable, "-c", program, "serve", "--port", str(port), "--timeout", "1", *words]
    process = subprocess.Popen(
        command, env=environment, cwd=directory, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    served = Served(process, port, settings, redis)

    def answers() -> bool:
        assert process.poll() is None, process.communicate()
        try:
            return served.get("/live").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, 20)
    return served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that the tests of a module share, with 30 sessions."""
    directory = tmp_path_factory.mktemp("served")
    with ValkeyServer(directory / "redis") as redis:
        settings = Settings(
            redis_host=HOST, redis_port=redis.port, database_url=f"sqlite:///{directory / 'checkout.db'}"
        )
        with CheckoutStore.open(settings) as store:
            make_tables(store.database)
            for number in range(30):
                store.create({"totalAmount": number, **CANARY}, checkout_id=f"session-{number:04}")
        found = started(directory, redis, settings)
        yield found
        if found.process.poll() is None:
            found.end()


@pytest.fixture
def serve(
    tmp_path: Path, valkey_server: Callable[..., ValkeyServer], settings: Settings
) -> Iterator[Callable[..., Served]]:
    """Starts one of the test's own, whose Redis may be killed or paused."""
    running = []

    def start(*words: str, more: Mapping[str, str] | None = None, altered: str = "pass") -> Served:
        redis = valkey_server()
        own = Settings(redis_host=HOST, redis_port=redis.port, database_url=settings.database_url)
        with CheckoutStore.open(own) as store:
            make_tables(store.database)
        running.append(started(tmp_path, redis, own, *words, more=more, altered=altered))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.redis.resume()
            each.end()

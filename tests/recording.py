"""The recording in the README: real commands on a real terminal, on servers of their own.

``python -m tests.recording`` makes it anew and puts it into the README. A test makes it once more and compares all but
the figures, so that it cannot tell of a program that is no more.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect

from checkout_cli.commands.demo.data import EXPIRED_LIFE, Outcome, invented_sessions, order_id
from checkout_cli.config.settings import Settings
from checkout_cli.domain import DeliveryCharges
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import PaymentStatus
from checkout_cli.store.checkout_store import CheckoutStore
from tests.readme import put
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables

SEED = 5
SIZE = (40, 80)
"""Of the terminal, in lines and columns."""
NUMBERS = {
    Outcome.BROWSING: 60,
    Outcome.PAYING: 6,
    Outcome.PAID: 40,
    Outcome.FAILED: 4,
    Outcome.ENDING: 3,
    Outcome.EXPIRED: 12,
}


class Shop:
    """A shop with sessions of every outcome, whose Redis can be killed."""

    def __init__(self, directory: Path) -> None:
        """``directory`` is where everything lives."""
        self.directory = directory
        self.redis = ValkeyServer(directory / "redis", "--appendonly", "yes", "--maxmemory", "16mb")
        self.redis.start()
        url = f"sqlite:///{directory / 'checkout.db'}"
        self.settings = Settings(redis_host=HOST, redis_port=self.redis.port, database_url=url, timeout=2.0)
        self.open = ""
        self.exit_code: int | None = None

    def fill(self) -> None:
        """Write what a bakery sells in a morning; one session stays open for the story."""
        chance = random.Random(SEED)
        now = time.time_ns() // 1_000_000
        invented = invented_sessions(NUMBERS, chance, now)
        for life, sessions in itertools.groupby(invented, key=lambda session: session.life):
            with CheckoutStore.open(self.settings.unchecked(session_ttl=life)) as store:
                make_tables(store.database)
                for session in sessions:
                    store.create(session.fields, checkout_id=session.checkout_id)
                    if session.status is not None:
                        order = order_id(chance) if session.status is PaymentStatus.PAID else None
                        store.set_payment_status(session.checkout_id, session.status, order_id=order)
                    if session.outcome is Outcome.BROWSING:
                        self.open = session.checkout_id
        with CheckoutStore.open(self.settings) as store:
            charges = DeliveryCharges(store)
            for distance in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0):
                charges.charge(distance, 20.0, lambda distance, _: {"fee": distance})
        time.sleep(EXPIRED_LIFE)

    def somebody_searches(self) -> None:
        """With the command that nobody should use; that it was slow is what the log is told."""
        with self.redis.client() as client:
            client.config_set("slowlog-log-slower-than", 1)
            client.keys("checkout:session:*")
            client.config_set("slowlog-log-slower-than", 10_000)

    def typed(self, words: str) -> Iterator[str]:
        """A command on a terminal, and what it shows; a comment where it does not end with 0."""
        yield f"$ checkoutctl {words}"
        yield from self.on_screen(words).split("\n")
        if self.exit_code:
            yield f"# exit code {self.exit_code}"
        yield ""

    def on_screen(self, words: str, *, width: int = SIZE[1], term: str = "dumb", progress: bool = True) -> str:
        """The text that a command shows on a terminal, with its escape sequences unless that is a dumb one.

        Without ``progress``, stderr goes elsewhere: a picture has no moving parts.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "TERM": term,
            "LANG": "C.UTF-8",
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.redis.port),
            "DATABASE_URL": self.settings.database_url,
        }
        command = [sys.executable, "-m", "checkout_cli", *shlex.split(words)]
        child = pexpect.spawn(
            "/bin/sh",
            ["-c", f"exec {shlex.join(command)}{'' if progress else ' 2>/dev/null'}"],
            env=environment,  # type: ignore[arg-type]
            cwd=str(self.directory),
            dimensions=(SIZE[0], width),
            encoding="utf-8",
            timeout=120,
        )
        child.expect(pexpect.EOF)
        child.wait()
        self.exit_code = child.exitstatus
        return "\n".join(line.rstrip() for line in (child.before or "").replace("\r", "").strip("\n").split("\n"))


def record(directory: Path) -> str:
    """The whole story."""
    shop = Shop(directory)
    try:
        shop.fill()
        shop.redis.kill()
        lines = ["# Redis has been killed: kill -9", *shop.typed("health")]
        lines += shop.typed(f"sessions update {shop.open} --set 'notes=Ring twice'")
    finally:
        shop.redis.kill()
    return "\n".join(lines).strip() + "\n"


_SHAPES = (
    (r"[0-9a-f]{8}-[0-9a-f-]{4,27}", "ID"),
    (r"\b[0-9a-f]{8}\b", "ID"),
    (r"[▁▂▃▄▅▆▇█░]+", "BAR"),
    (r"[+-]?\d[\d,.:TZ-]*", "0"),
    (r"\bfull in .*|\b0 [KM]iB/min.*", "GROWTH"),
    (r"[─━]+", "LINE"),
    (r"[ \t]+", " "),
)


def shape(recording: str) -> str:
    """A recording without its figures, which are others each time."""
    for pattern, name in _SHAPES:
        recording = re.sub(pattern, name, recording)
    return "\n".join(line.strip() for line in recording.splitlines())


def main() -> None:
    """Make it, and put it into the README."""
    with tempfile.TemporaryDirectory() as directory:
        put("recording", f"```console\n{record(Path(directory))}```\n")


if __name__ == "__main__":
    main()

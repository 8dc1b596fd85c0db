"""Nothing that is secret or personal leaves, whatever is run and however it fails: not at full debug either.

Every command that there is, in each situation, with canaries in all places where somebody's data or a password lies.
Looked at are stdout, stderr, the log, and what processes are started with.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.commands.acl.roles import COMMANDS
from checkout_cli.config.settings import Settings
from checkout_cli.domain import Coupons
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.terminal import masking
from tests.support.in_process import run_here
from tests.support.role_runs import LIVING, RUNS, Run, Scene, name_of
from tests.support.servers import ValkeyServer

PERSONAL = {
    "userEmail": "canary.bird@shop.example",
    "contactInfo": {"name": "Canary Bird", "phone": "+49 170 5550199", "alternatePhone": "01705550198"},
    "addressText": "7 Canary Wharf",
    "notes": "the canary sings at the back door",
    "customer": {"email": "canary.two@shop.example"},
}
USER = "canary-user-00017"
PASSWORD, DATABASE_PASSWORD, TOKEN = "pw-canary-1", "pw-canary-2", "pw-canary-3-long-enough"
SECRETS = (
    *("canary.bird", "canary.two", "Canary", "5550199", "5550198", "Wharf", "back door", USER),
    *("pw-canary",),
    *("finch", "wren", "robin", "linnet", "siskin", "Dunnock", "4917055", "0151 555", "0151555", "1555123", "98765432"),
)
PERSONAL_IDS = (
    *("finch@shop.example", "cart:wren@shop.example", "robin%40shop.example", "+4917055501177"),
    *("0151 5551166", "15551234567", "cart-01515551166", "9876543210"),
)
"""Ids of sessions and users, codes of coupons and parts of other keys; a beginning of one is a secret as well."""
PERSONAL_NAMES = {"linnet@shop.example": {"phone": 1}, "Dunnock": {"siskin%40shop.example": [1]}, "+4917055501188": 1}
ORDER = "100023"
MORE = (
    Run("sessions create", "--file -", input='{"userEmail": "canary.bird@shop.example", "contactInfo": '),
    Run("sessions create", "--file -", input='{"notes": "the canary sings at the back door", "totalAmount": NaN}'),
    Run("sessions create", "--file -", input='{"userEmail": "canary.bird@shop.example", "cardNumber": "1"}'),
    Run("sessions update", f"{LIVING} --set paymentStatus=paid"),
    Run("sessions show", "corrupt-01"),
    Run("sessions trace", "foreign-01"),
    Run("sessions list", "--output csv"),
    Run("sessions list", "--output ndjson"),
    Run("sessions export", "--output csv"),
    Run("memory tune", "--maxmemory 64mb --dry-run"),
    Run("doctor", "--json"),
    Run("health", "--nagios"),
    Run("top", "--json"),
    Run("monitor", "--seconds 0.2 --json"),
    Run("sessions list", "--json"),
    Run("sessions list", "--output ids"),
    Run("sessions list", "--sort expires"),
    Run("sessions show", "wr-names-01"),
    Run("sessions show", "wr-names-01 --json"),
    Run("sessions trace", "wr-names-01"),
    Run("sessions trace", "wr-names-01 --json"),
    Run("sessions why", "u-names-01 --user --json"),
    Run("sessions delete", "--user u-names-01 --dry-run"),
    Run("sessions delete", "--user u-names-01 --dry-run --json"),
    Run("sessions index check", "--json"),
    Run("users list", "--json"),
    Run("users list", "--output ids"),
    Run("cache coupon list", "--json"),
    Run("cache coupon list", "--output ids"),
    Run("cache delivery list", "--json"),
    Run("cache delivery list", "--output ids"),
    Run("cache coupon invalidate", "--dry-run --json"),
    Run("memory families", "--biggest 50 --json"),
    Run("memory families", "--biggest 50"),
    Run("slowlog", "--limit 1000 --json"),
    Run("sync", "--conflicts --json"),
    Run("cleanup", "--orphans --dry-run --json"),
    Run("migrate verify", "--json"),
)
NOT_RUN = {"demo", "memory tune --undo"}
"""Which has servers and sessions of its own."""


class Planted(Scene):
    """A scene with canaries."""

    def fill(self) -> None:
        super().fill()
        with CheckoutStore.open(self.settings) as store:
            store.update(LIVING, {**PERSONAL, "userId": USER})
            store.create({**PERSONAL, "userId": USER}, checkout_id="failed-001")
            store.set_payment_status("failed-001", "failed")
            Coupons(store).validate("SAVE10", {"email": PERSONAL["userEmail"]}, lambda *_: {"valid": True})
        with self.server.client() as client:
            client.set("checkout:session:corrupt-01", '{"userEmail": "canary.bird@shop.example", "contactI')
            client.set("checkout:session:foreign-01", '{"userEmail": "canary.bird@shop.example", "totalAmount": 1}')
            self.plant_names(client)
            client.config_set("slowlog-log-slower-than", 0)  # every command with all its arguments

    def plant_names(self, client: Any) -> None:
        """Ids, keys and names of fields that are somebody's; and an order number, which is nobody's."""
        foreign = {"items": [], "totalAmount": 1, "userId": "u-names-01", **PERSONAL_NAMES}
        for name in (*PERSONAL_IDS, ORDER):
            client.set(f"checkout:session:{name}", json.dumps(foreign | {"checkoutId": name}), ex=600)
            client.set(f"checkout:session:{name}-broken", "{")
            client.zadd("checkout:index", {name: time.time() * 1000 + 600_000, f"{name}-gone": time.time() * 1000})
            client.hset(f"user:session:{name}", mapping={"checkoutsStarted": 1, **dict.fromkeys(PERSONAL_NAMES, 1)})
            client.set(f"coupon:cache:{name}", "{")
            client.set(f"delivery:cache:{name}:1", "{")
            client.set(f"{name}:basket", "x" * 300)
        with CheckoutStore.open(self.settings) as store:
            store.create({**PERSONAL_NAMES, "userId": "u-names-01"}, checkout_id="wr-names-01")
        body = {
            **PERSONAL_NAMES,
            "linnet@shop.example": 2,
            "couponCode": PERSONAL_IDS[0],
            "deliveryZone": "Dunnock Lane",
        }
        client.set("checkout:session:wr-names-01", json.dumps(body), ex=600)  # an external writer's


@dataclass
class Aviary:
    """The place: its scene, another server, and how commands are run there."""

    scene: Planted
    other: ValkeyServer
    directory: Path
    started: list[str]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.scene.server.port),
            "REDIS_USERNAME": "canary",
            "REDIS_PASSWORD": PASSWORD,
            "REDIS_TO_PASSWORD": PASSWORD,
            "REDIS_SENTINEL_PASSWORD": PASSWORD,
            "REDIS_TLS_KEY_PASSWORD": PASSWORD,
            "CHECKOUT_SERVE_TOKEN": TOKEN,
            "DATABASE_URL": self.scene.settings.database_url,
            "CHECKOUT_TIMEOUT": "0.5",
            "DEBUG": "*",
        }

    def said(self, run: Run, more: dict[str, str]) -> str:
        """All that a command lets out."""
        other = f"redis://canary@{HOST}:{self.other.port}/0"
        words = [other if word == "{other}" else self.scene.filled_in(word) for word in run.words]
        return self.run(words, more, run.input or "")

    def run(self, words: list[str], more: dict[str, str], given: str = "") -> str:
        """The same of the very words that are typed."""
        self.started.clear()
        done = run_here(words, self.environment() | more, self.directory, given=given)
        if words[0] == "incident" and not done.code:
            (self.directory / "incident.json").write_text(done.out)
        assert "Traceback" not in done.err, done.err
        log = Path(more["LOG_FILE"]).read_text() if "LOG_FILE" in more and Path(more["LOG_FILE"]).exists() else ""
        return "\n".join((done.out, done.err, log, *self.started))


@pytest.fixture(scope="module")
def aviary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aviary]:
    directory = tmp_path_factory.mktemp("aviary")
    with ValkeyServer(directory / "server") as server, ValkeyServer(directory / "other") as other:
        for each in (server, other):
            with each.client() as client:
                client.execute_command("ACL", "SETUSER", "canary", "on", f">{PASSWORD}", "~*", "&*", "+@all")
                client.execute_command("ACL", "SETUSER", "canary-denied", "on", f">{PASSWORD}", "~*", "+ping")
        url = f"sqlite:///{directory / 'checkout.db'}"
        settings = Settings(redis_host=HOST, redis_port=server.port, database_url=url, timeout=0.5)
        yield Aviary(Planted(server, settings), other, directory, [])


@pytest.fixture(autouse=True)
def _watch(aviary: Aviary, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Note what processes are started with; leave logging as it was."""
    start = subprocess.Popen.__init__

    def noted(self: Any, arguments: Any, *more: Any, **options: Any) -> None:
        aviary.started.append(" ".join(map(str, arguments)) if isinstance(arguments, (list, tuple)) else str(arguments))
        start(self, arguments, *more, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    yield
    logger = logging.getLogger("checkout_cli")
    for handler in logger.handlers:
        handler.close()
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


def situations(aviary: Aviary) -> dict[str, dict[str, str]]:
    """What is different in each, as settings."""
    gone = {"REDIS_PORT": "1", "DATABASE_URL": f"postgresql://shop:{DATABASE_PASSWORD}@{HOST}:1/none"}
    return {
        "all is well": {},
        "JSON in a file": {"LOG_FORMAT": "json", "LOG_FILE": str(aviary.directory / "all.log")},
        "wrong password": {"REDIS_PASSWORD": "pw-canary-wrong"},
        "denied": {"REDIS_USERNAME": "canary-denied"},
        "everything away": gone,
        "no configuration": {"REDIS_PORT": "none", "CHECKOUT_TIMEOUT": "soon"},
    }


_ONCE = {(run.command, run.arguments, run.input): run for run in reversed((*RUNS, *MORE))}
"""Each command line once, in the first of its states."""


@pytest.mark.parametrize("situation", list(situations(Aviary(None, None, Path(), []))))  # type: ignore[arg-type]
@pytest.mark.timeout(240)
def test_no_canary_gets_out(situation: str, aviary: Aviary) -> None:
    more = situations(aviary)[situation]
    leaks = []
    for run in reversed(_ONCE.values()):
        if run.command == "bench" and situation != "all is well":
            continue
        aviary.other.flush()
        aviary.scene.prepare(run.state)
        (aviary.directory / "incident.json").unlink(missing_ok=True)
        said = aviary.said(run, more)
        # What somebody has typed as a setting is shown to him where it is wrong, but for secrets.
        secrets = (
            [word for word in SECRETS if word not in "pw-canary-port"] if "configuration" in situation else SECRETS
        )
        leaks += [f"{' '.join(run.words)}: {word}" for word in secrets if word in said]
    assert leaks == []


@pytest.mark.parametrize(
    "words", ["ping --count 1", "health", "top --once", "doctor", "sessions list", "cleanup --expired"]
)
def test_no_canary_gets_out_of_a_redis_that_hangs(words: str, aviary: Aviary) -> None:
    aviary.scene.empty()
    aviary.scene.fill()
    aviary.scene.server.pause()
    try:
        said = aviary.said(Run(f"{words} --timeout 0.3"), {})
    finally:
        aviary.scene.server.resume()
    assert [word for word in SECRETS if word in said] == []


def test_what_processes_are_started_with_is_looked_at(aviary: Aviary) -> None:
    aviary.scene.empty()
    aviary.scene.fill()
    said = aviary.said(Run("cron run", "health --jitter 0"), {})
    assert "health" in aviary.started[0]
    assert aviary.started[0] in said


def test_every_command_is_among_them() -> None:
    assert {name_of(run) for run in _ONCE.values()} >= set(COMMANDS) - NOT_RUN


def test_a_canary_that_gets_out_would_be_seen(aviary: Aviary) -> None:
    aviary.scene.empty()
    aviary.scene.fill()
    said = aviary.said(Run("sessions show", f"{LIVING} --reveal"), {})
    assert all(word in said for word in ("canary.bird", "Canary", "5550199", "Wharf", "back door"))
    assert " redis:session " in said


@pytest.mark.parametrize("words", ["sessions list", "sessions export", "users list", "memory families --biggest 50"])
def test_what_is_masked_is_whole_when_it_is_revealed(words: str, aviary: Aviary) -> None:
    aviary.scene.empty()
    aviary.scene.fill()
    hidden, shown = (aviary.said(Run(f"{words}{option}"), {}) for option in ("", " --reveal"))
    assert [name for name in PERSONAL_IDS if name not in shown] == []
    assert [word for word in SECRETS if word in hidden] == []


def test_an_order_number_is_nobodys(aviary: Aviary) -> None:
    aviary.scene.empty()
    aviary.scene.fill()
    for words in ("sessions list", "sessions list --output ids", "sessions export"):
        assert ORDER in aviary.said(Run(words), {}), words


@pytest.mark.parametrize("name", PERSONAL_IDS)
def test_an_id_that_was_typed_is_nowhere_but_in_the_command_that_is_to_be_typed(name: str, aviary: Aviary) -> None:
    aviary.scene.empty()
    aviary.scene.fill()
    log = aviary.directory / "typed.log"
    for words in ("show", "show --json", "trace", "trace --json", "why", "why --json", "delete --dry-run"):
        command, *options = words.split()
        for given in (name, f"{name}-broken", f"{name}-nowhere"):
            said = aviary.run(["sessions", command, *options, "--", given], {"LOG_FILE": str(log)})
            next_steps = [line for line in said.splitlines() if "next" in line]
            rest = [line for line in said.splitlines() if line not in next_steps]
            if command != "delete":  # which acknowledges what was typed
                assert name not in "\n".join(rest), (words, said)
        assert name not in log.read_text()


@pytest.mark.parametrize(
    ("guard", "answer", "words", "canary"),
    [
        ("is_personal", False, "sessions list", "finch"),
        ("is_personal", False, "users list", "robi"),
        ("is_program_name", True, "sessions show wr-names-01", "linnet"),
    ],
)
def test_without_the_guard_the_canary_gets_out(
    guard: str, answer: bool, words: str, canary: str, aviary: Aviary, monkeypatch: pytest.MonkeyPatch
) -> None:
    aviary.scene.empty()
    aviary.scene.fill()
    for name, module in list(sys.modules.items()):
        if name.startswith("checkout_cli") and hasattr(module, guard):
            monkeypatch.setattr(module, guard, lambda _: answer)
    masking._user_shown.cache_clear()
    try:
        assert canary in aviary.said(Run(words), {})
    finally:
        masking._user_shown.cache_clear()

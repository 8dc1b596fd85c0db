"""Every command beside a server that answers some of its commands with anything at all: one clear line, and in time.

Each command of an operator is told lies about the commands that it asks: a few, drawn with a fixed seed. How many can
be set: ``CHECKOUT_TEST_LIES=1000`` is all of them, and takes an hour.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.store.redis.test_replies import LIES
from tests.support.in_process import Outcome, run_here
from tests.support.liar import Liar, dripping, endless, instead
from tests.support.operator_runs import RUNS, Run
from tests.support.servers import ValkeyServer

LIES_TOLD = int(os.environ.get("CHECKOUT_TEST_LIES", "4"))
"""Lies that each command is told."""
TIMEOUT = 0.3
LONGEST = 12.0
"""Seconds that a command may take here; a wait without an end is what it is far below."""
CODES = {0, 1, 2, 3, 4, 69, 75, 78}
TELLS = {name: instead(lie) for name, lie in LIES.items()} | {"drips": dripping(0.05), "never ends": endless}
LONG = {"bench", "monitor"}
"""Commands that run for a time of their own."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ValkeyServer, Path]]:
    place = tmp_path_factory.mktemp("lies")
    server = ValkeyServer(place / "server")
    server.start()
    settings = Settings(redis_host=HOST, redis_port=server.port, database_url=f"sqlite:///{place / 'checkout.db'}")
    with CheckoutStore.open(settings) as store:
        store.database.create_schema()
        for number in range(5):
            store.create({"userId": f"user-{number}"}, checkout_id=f"living-{number:04}")
    yield server, place
    server.stop()


def _run(run: Run, liar: Liar, place: Path) -> Outcome:
    environment = {
        "HOME": str(place),
        "PATH": "",
        "REDIS_HOST": HOST,
        "REDIS_PORT": str(liar.port),
        "DATABASE_URL": f"sqlite:///{place / 'checkout.db'}",
        "CHECKOUT_TIMEOUT": str(TIMEOUT),
    }
    return run_here(run.words.split(), environment, place, given=run.given)


def _answer(outcome: Outcome, run: Run) -> None:
    assert outcome.code in CODES, outcome
    assert "Traceback" not in outcome.err, outcome.err
    if outcome.code not in {0, 1}:
        assert outcome.err.strip(), "an error without a word"
    if "--json" in run.words and outcome.out.strip():
        json.loads(outcome.out, parse_constant=pytest.fail)
    assert outcome.seconds < LONGEST, outcome


@pytest.mark.parametrize("run", [run for run in RUNS if run.words.split()[0] not in LONG], ids=lambda run: run.words)
def test_a_lie_ends_in_an_answer(scene: tuple[ValkeyServer, Path], run: Run) -> None:
    server, place = scene
    with Liar(server.port) as liar:
        _answer(_run(run, liar, place), run)  # and so it is known what it asks
        pairs = [(command, tell) for command in sorted(liar.asked) for tell in TELLS]
        pairs = random.Random(run.words).sample(pairs, min(LIES_TOLD, len(pairs)))
        for command, tell in pairs:
            liar.lies = {command: TELLS[tell]}
            outcome = _run(run, liar, place)
            try:
                _answer(outcome, run)
            except BaseException as error:
                error.add_note(f"{run.words}: {command} was answered with {tell}")
                raise

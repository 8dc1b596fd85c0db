"""Operators' looks classify what external writers have written, and write nothing: keys and rows are compared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.keys import INDEX, claim_key
from checkout_cli.servers.embedded import HOST
from tests.support.divergence import create_in_redis_alone
from tests.support.in_process import Outcome, run_here
from tests.support.operator_runs import of_role
from tests.support.role_runs import ALONE, BROKEN, CLAIMED, LIVING, THEIRS, Scene
from tests.support.servers import ValkeyServer

LOOKS = (
    *(run.words for run in of_role("reader")),
    "sessions list --tier redis --status paid",
    "sessions list --sort expires",
    *(f"sessions {verb} {name}" for verb in ("show", "trace", "why") for name in (THEIRS, BROKEN, ALONE)),
    "sessions delete --status pending --dry-run",
    f"sessions delete {THEIRS} --dry-run",
    "stats",
    "sync --conflicts",
)


@pytest.fixture
def scene(valkey: ValkeyServer, settings: Settings) -> Scene:
    made = Scene(valkey, settings)
    made.empty()
    made.written_externally()
    create_in_redis_alone(settings, ALONE)
    return made


def run(scene: Scene, words: str, directory: Path) -> Outcome:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "REDIS_HOST": HOST,
        "REDIS_PORT": str(scene.server.port),
        "DATABASE_URL": scene.settings.database_url,
    }
    return run_here(words.split(), environment, directory)


@pytest.mark.timeout(300)
def test_whatever_looks_leaves_every_key_and_every_row_as_it_was(scene: Scene, tmp_path: Path) -> None:
    before = scene.everything()
    changed = []
    for words in LOOKS:
        done = run(scene, words, tmp_path)
        assert done.code in {0, 1}, (words, done)
        if scene.everything() != before:
            changed.append(words)
            before = scene.everything()
    assert changed == []


@pytest.mark.parametrize("words", [f"sessions update {LIVING} --set notes=x", "sync"])
def test_the_control_a_write_and_a_sync_change_something(scene: Scene, tmp_path: Path, words: str) -> None:
    before = scene.everything()
    assert run(scene, words, tmp_path).code in {0, 1}
    assert scene.everything() != before


def test_they_show_what_the_external_writer_has_made_of_it(scene: Scene, tmp_path: Path) -> None:
    (listed,) = run(scene, "sessions list --json", tmp_path).documents
    found = {each["checkoutId"]: each for each in listed["sessions"]}
    assert (found[LIVING]["status"], found[LIVING]["external"]) == ("paid", True)
    (shown,) = run(scene, f"sessions show {LIVING} --json", tmp_path).documents
    assert (shown["fields"]["paymentStatus"], shown["version"]) == ("paid", 3)
    exported = {each["checkoutId"]: each for each in run(scene, "sessions export", tmp_path).documents}
    assert (exported[LIVING]["session"]["paymentStatus"], exported[LIVING]["version"]) == ("paid", 3)
    (statistics,) = run(scene, "stats --by status --json", tmp_path).documents
    assert statistics["statuses"]["paid"] == 1


@pytest.mark.parametrize(
    "words",
    [
        "sessions list",
        "sessions list --tier redis --status unreadable",
        "sessions export",
        "sessions delete --status unreadable --dry-run",
        "sessions index check",
        "cleanup --expired --index --orphans --dry-run",
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_a_fill_claim_is_listed_by_none_of_them(scene: Scene, tmp_path: Path, words: str, indexed: bool) -> None:
    with scene.server.client() as client:
        assert client.exists(claim_key(CLAIMED))
        if not indexed:
            client.delete(INDEX)  # so that keys are scanned for
    done = run(scene, words, tmp_path)
    assert done.code in {0, 1}, done
    assert CLAIMED not in done.out + done.err
    assert "claim" not in done.out + done.err

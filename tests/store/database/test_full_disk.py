"""SQLite on a full disk: it is read, every write has the durability of Redis alone, and that is told."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest

from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl


def full() -> None:
    """For this process, every file is at its largest size: what a full disk refuses too."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))


@pytest.mark.parametrize("is_full", [True, False])
def test_on_a_full_disk_a_write_is_redis_own_and_health_and_doctor_say_so(
    is_full: bool, store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    store.create({}, checkout_id="session-0001")  # the file stays open here, as a shop has it

    def run(*words: str, given: str = "") -> tuple[int, dict[str, object]]:
        process = checkoutctl.start(*words, "--json", stdin=subprocess.PIPE, preexec_fn=full if is_full else None)
        said, errors = process.communicate(given, timeout=60)
        assert "Traceback" not in errors
        return process.returncode, json.loads(said)

    code, health = run("health")
    assert (code, health["status"]) == ((1, "degraded") if is_full else (0, "healthy"))
    code, found = run("doctor", "--only", "database-write")
    (check,) = found["checks"]  # type: ignore[misc]
    assert (code, check["status"]) == ((1, "crit") if is_full else (0, "ok"))  # type: ignore[index]
    code, created = run("sessions", "create", "--file", "-", given='{"totalAmount": 1}')
    expected = Durability.REDIS if is_full else Durability.DATABASE
    assert (code, created["durability"], created["degraded"]) == (0, expected, is_full)

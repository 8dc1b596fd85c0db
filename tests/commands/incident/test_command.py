from __future__ import annotations

import json
import stat
from pathlib import Path

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl


def test_a_file_is_written_and_its_name_told(store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    run = checkoutctl("incident", "--out", "tonight.json")
    assert (run.returncode, run.stdout, run.stderr) == (0, "tonight.json\n", "")
    assert stat.S_IMODE((tmp_path / "tonight.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "tonight.json").read_text())["health"]["status"] == "healthy"
    named = checkoutctl("incident").stdout.strip()
    assert named.startswith("incident-2")
    compared = checkoutctl("incident", "diff", "tonight.json", named, "--json")
    assert compared.returncode == 0
    assert json.loads(compared.stdout)["changes"]
    told = checkoutctl("incident", "diff", "tonight.json", named)
    assert "total_commands_processed" in told.stdout
    assert told.stderr.startswith("from 2")


def test_it_can_go_to_stdout(store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    run = checkoutctl("incident", "--out", "-")
    assert json.loads(run.stdout)["kind"] == "checkoutctl incident"
    assert not [path for path in set(tmp_path.iterdir()) - before if path.name.startswith("incident")]


def test_a_file_that_is_none_is_a_usage_error(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    run = checkoutctl("incident", "diff", "x.json", "x.json")
    assert run.returncode == 2
    assert run.stderr.splitlines() == [
        "error: x.json: not an incident file",
        "  hint: checkoutctl incident --out FILE makes one",
        "next: checkoutctl incident diff --help",
    ]
    assert checkoutctl("incident", "--out", "x.json/y.json").returncode == 2


def test_without_redis_what_is_missing_is_told(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    run = checkoutctl("incident", "--out", "x.json", env={"REDIS_PORT": "1"})
    assert run.returncode == 0
    assert run.stderr.count("without ") == 4
    assert json.loads((tmp_path / "x.json").read_text())["health"]["status"] == "unhealthy"

"""A process of the shop that ends at an exact step, as if it were killed there; run by the tests of crashes.

Arguments: the settings as JSON, the step (``redis.publish:before``), the call, the session's id, the mark to set.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import checkout_cli
from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.faults import crashing
from tests.faults.harness import ID

CRASHED = 86
"""The exit code of a process that came to its step."""


def crash_at(store: CheckoutStore, step: str) -> None:
    """End this process before or after the first call of a method; nothing is cleared up."""
    path, _, moment = step.partition(":")
    *parts, name = path.split(".")
    target: Any = store
    for part in parts:
        target = getattr(target, part)
    original = getattr(target, name)

    def crashing(*arguments: Any, **options: Any) -> None:
        if moment == "after":
            original(*arguments, **options)
        os._exit(CRASHED)

    setattr(target, name, crashing)


def main() -> None:
    settings, step, call, checkout_id, mark = sys.argv[1:]
    store = CheckoutStore.open(Settings(**json.loads(settings)))
    crash_at(store, step)
    if call == "create":
        store.create({mark: 1}, checkout_id=checkout_id)
    elif call == "update":
        store.update(checkout_id, {mark: 1})
    elif call == "delete":
        store.delete(checkout_id)
    else:
        store.get(checkout_id)
    store.close()


if __name__ == "__main__":
    main()


def crash(settings: Settings, step: str, call: str, checkout_id: str = ID, mark: str = "crashed") -> None:
    """Run a call in a process of its own that ends at a step."""
    root = Path(checkout_cli.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, crashing.__file__, json.dumps(dataclasses.asdict(settings)), step, call, checkout_id, mark],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == crashing.CRASHED, f"it did not come to {step}: {done.stderr}"

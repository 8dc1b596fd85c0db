"""A process of the shop that ends at an exact step, as if it were killed there."""

from __future__ import annotations

import os
from typing import Any

from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.faults.harness import ID
from tests.support.forked import FORKED

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


def _crash(settings: Settings, step: str, call: str, checkout_id: str, mark: str) -> None:
    store = CheckoutStore.open(settings)
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


def crash(settings: Settings, step: str, call: str, checkout_id: str = ID, mark: str = "crashed") -> None:
    """Run a call in a process of its own that ends at a step (``redis.publish:before``), as if it were killed there."""
    process = FORKED.Process(target=_crash, args=(settings, step, call, checkout_id, mark))
    process.start()
    process.join(20)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode == CRASHED, f"it did not come to {step}: {process.exitcode}"
    process.close()

"""What is on record of writes that could not stand: the one place here that knows how the conflict log is read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore

ALL = 1_000_000


def recorded(settings: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """By session, both contents of each conflict: the one written, and the row's, which may have had to give way to it.

    Bytes that are no object are {}.
    """
    contents: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with CheckoutStore.open(Settings.load(environ=settings)) as store:
        for conflict in store.flush_log.conflicts(ALL):
            both = (conflict.written, conflict.found_body or b"")
            contents[conflict.checkout_id] += map(_fields, both)
    return contents


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}

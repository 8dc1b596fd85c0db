"""JSON that every program reads alike, and that nothing which it is pasted into takes for anything else."""

from __future__ import annotations

import json
from typing import Any


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON in printable ASCII, which can neither turn a line round nor steer a terminal."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, indent=indent, separators=separators, allow_nan=False).replace("\x7f", "\\u007f")

"""The protocol in which a test tells a process what to do: one JSON object a line, and a line in answer to each.

An order names a method and its arguments; the answer is what it returned, or how it refused. A program of any language
can take part.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def serve(program: Any, *, failures: tuple[type[Exception], ...]) -> None:
    """Answer orders until stdin ends; ``failures`` are answers as well, and any other error ends the process."""
    _say({"answer": "ready"})
    for line in sys.stdin:
        order = json.loads(line)
        try:
            _say({"answer": getattr(program, order["do"])(**order["with"])})
        except failures as error:
            _say({"refused": f"{type(error).__name__}: {error}"})


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201

"""Stand-ins for our side, by which the judges are judged: ``python -m tests.beside.control_program faithful``.

One that keeps everything, because it does just what the older program does; and one that says that it has written and
has not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from tests.beside.lines import serve
from tests.older_program import OlderProgram, program_of


class Faithful:
    """Calls of ours, done by one more older program."""

    def __init__(self, program: OlderProgram) -> None:
        self._program = program

    def __getattr__(self, name: str) -> Any:
        """All calls that both sides have."""
        return getattr(self._program, name)

    def settle(self) -> bool:
        return True


class Forgetful(Faithful):
    """The same without any update."""

    def update(self, checkout_id: str, changes: Mapping[str, Any]) -> dict[str, Any] | None:
        session = self._program.get(checkout_id)
        return session and {**session, **changes}


KINDS = {"faithful": Faithful, "forgetful": Forgetful}

if __name__ == "__main__":
    serve(KINDS[sys.argv[1]](program_of(os.environ)), failures=(RedisError, ValueError))

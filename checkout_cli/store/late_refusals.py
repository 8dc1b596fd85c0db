"""A server that lets us in no more, after it has: its password was changed, say, while this process runs.

At the first contact that is an error: somebody is there to read it, and to mend the setting. Later it would end every
checkout; so the tier counts as away, the next one serves, and the log says so once.
"""

from __future__ import annotations

import logging

from checkout_cli.errors import CheckoutError

_log = logging.getLogger("checkout_cli.store")


class LateRefusals:
    """What one server refused since it let us in. ``server`` is its name in the log."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._was_connected = False
        self._is_told = False

    def connected(self) -> None:
        """A new connection was let in."""
        self._was_connected, self._is_told = True, False

    def is_late(self, refusal: CheckoutError) -> bool:
        """Whether the refusal of a connection comes after another was let in; the first of them is logged."""
        if self._was_connected and not self._is_told:
            self._is_told = True
            _log.error("%s lets us in no more, and counts as away: %s; %s", self._server, refusal, refusal.hint)
        return self._was_connected

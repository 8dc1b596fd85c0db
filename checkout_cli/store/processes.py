"""What happens to open stores when their process is forked, or ends without closing them."""

from __future__ import annotations

import atexit
import os
from typing import Protocol
from weakref import WeakSet


class _Store(Protocol):
    def about_to_fork(self) -> None: ...

    def has_forked(self) -> None: ...

    def forked(self) -> None: ...

    def flush_at_exit(self) -> None: ...


_open: WeakSet[_Store] = WeakSet()


def add(store: _Store) -> None:
    """Watch over a store that was opened."""
    _open.add(store)


def discard(store: _Store) -> None:
    """It is closed."""
    _open.discard(store)


def _before() -> None:
    for store in list(_open):
        store.about_to_fork()


def _in_parent() -> None:
    for store in list(_open):
        store.has_forked()


def _in_child() -> None:
    for store in list(_open):
        store.forked()


def _at_exit() -> None:
    for store in list(_open):
        store.flush_at_exit()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
atexit.register(_at_exit)

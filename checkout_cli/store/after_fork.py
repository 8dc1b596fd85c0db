"""What a forked process must not share with its parent: a web server may load the shop before it forks its workers.

A connection that two processes use mixes up their answers, and counts that both of them send count twice.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

_ACTS: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def in_each_child(owner: Any, act: Callable[[Any], None]) -> None:
    """Call ``act(owner)`` in each process that is forked from this one, as long as there is such an owner."""
    _ACTS[owner] = act


def _begin_anew() -> None:
    for owner, act in list(_ACTS.items()):
        act(owner)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_begin_anew)

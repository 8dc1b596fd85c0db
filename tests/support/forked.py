"""Processes of the tests' own, each forked from one that has imported the library and done nothing else.

They share nothing with the test: no connection, no thread, no state of a module. Importing is what takes longest where
a process is started anew, and it is then no part of what is tested.
"""

from __future__ import annotations

import multiprocessing
import sys

FORKED = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
"""Starts such processes: ``FORKED.Process(target=…, args=…)``, whose function and arguments can be pickled."""

if sys.platform != "win32":
    FORKED.set_forkserver_preload(["tests.support.preloaded"])

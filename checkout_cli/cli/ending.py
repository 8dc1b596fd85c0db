"""How this process ends when it is told to: in order where it can, and in time whatever keeps it."""

from __future__ import annotations

import os
import signal
import threading
import time

INTERRUPTED = 130
LONGEST = 28.0
"""Seconds from the signal to the end: an orchestrator waits for 30 before it kills."""
_ENDING = (signal.SIGINT, signal.SIGTERM)


def end_when_told(longest: float = LONGEST) -> None:
    """Let SIGTERM end a command as Ctrl-C does, so that it releases its lock and shows what it has.

    A thread sees to it that the process ends: Python's own handlers wait for a call into C to return, such as a
    resolver's, and an interruption that comes while an object is deleted is lost.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if os.name == "nt":  # which has no such pipe
        return
    told, noted = os.pipe()
    os.set_blocking(noted, False)
    signal.set_wakeup_fd(noted, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_end, args=(told, longest), daemon=True).start()


def _end(told: int, longest: float) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # they are for the main thread, also at the very end
    while not set(os.read(told, 64)) & set(_ENDING):
        pass  # another signal that somebody handles, such as SIGWINCH
    time.sleep(longest)
    os.write(2, b"error: interrupted, and something still kept it waiting\n")
    os._exit(INTERRUPTED)


def no_more_signals() -> None:
    """Let none disturb what is left to do.

    They are ignored, as Python gives them their deadly meaning back at its exit, and another thread may get them. They
    are blocked too, as Python sends itself SIGINT there where an interruption has come in the middle of ``exec``:
    blocked, it exits with 130.
    """
    while True:
        try:
            if os.name != "nt":
                signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
            for number in _ENDING:
                signal.signal(number, signal.SIG_IGN)
        except KeyboardInterrupt:  # one that came just before
            continue
        return

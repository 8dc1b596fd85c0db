"""The processes that the shoppers live in: started once, and sent shopping several times."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from checkout_cli.commands.bench.shopper import Order, Tally, serve
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, ExitCode
from checkout_cli.servers.embedded import blocked

MOST_PROCESSES = 4
_PATIENCE = 10.0
"""How long a process may take beyond its time before it counts as lost, in seconds; servers' time-outs are in it."""
_START = 60.0
_POLL = 0.1


class ShopperLost(CheckoutError):
    """A process of the benchmark has ended or hangs."""

    exit_code = ExitCode.UNAVAILABLE
    default_hint = "checkoutctl bench --shoppers 10"


class Crew:
    """Processes of shoppers, whose sessions' ids begin with ``prefix``; use it in a ``with``, which ends them."""

    def __init__(self, shoppers: int, prefix: str, seed: int, pause: Callable[[float], None]) -> None:
        """``pause`` waits so many seconds, and raises where the benchmark is to end."""
        self.shoppers = shoppers
        self.processes = min(shoppers, MOST_PROCESSES, os.cpu_count() or 1)
        self._prefix = prefix
        self._seed = seed
        self.pause = pause
        self._connections: list[Connection] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")  # a fork would copy connections that are in use
        self._stopped = context.Event()
        try:
            for number in range(self.processes):
                ours, theirs = context.Pipe()
                name = f"shoppers-{number}"
                process = context.Process(target=serve, args=(theirs, self._stopped), name=name, daemon=True)
                with blocked():  # Ctrl-C and SIGTERM are the parent's to answer: it has to clear up
                    process.start()
                theirs.close()
                self._connections.append(ours)
                self._processes.append(process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(_PATIENCE if kind is None else 2.0)
            if process.is_alive():
                process.kill()
                process.join()

    def shop(self, settings: Settings, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Tally:
        """Let all shoppers shop for so many seconds; ``meanwhile`` runs here, from the moment at which they begin."""
        self._seed += 1  # else the same ids again
        for number, connection in enumerate(self._connections):
            share = self.shoppers // self.processes + (number < self.shoppers % self.processes)
            connection.send(Order(settings, self._prefix, share, seconds, self._seed * 1000 + number))
        self._answers(_START)
        for connection in self._connections:
            connection.send(None)
        meanwhile()
        whole = Tally()
        for tally in self._answers(seconds + _PATIENCE):
            assert tally is not None  # noqa: S101  (the second answer to an order is always one)
            whole += tally
        return whole

    def _answers(self, patience: float) -> list[Tally | None]:
        answers = []
        for connection in self._connections:
            end = time.monotonic() + patience
            try:
                while not connection.poll(_POLL):
                    self.pause(0)
                    if time.monotonic() > end:
                        raise ShopperLost(f"a process of shoppers has not come back after {patience:.0f} s")
                answers.append(connection.recv())
            except (EOFError, OSError) as error:
                raise ShopperLost("a process of shoppers has ended") from error
        return answers

"""One process of a shop: a store that is told over a pipe what to do, and where to stop, to fail and to crash."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, RedisUnavailable
from checkout_cli.session import Acknowledgement, Session
from checkout_cli.store.checkout_store import CheckoutStore
from tests.store.history import Call
from tests.store.without import MECHANISMS
from tests.support.forked import FORKED
from tests.support.stores import ManualClock, make_store

PATIENCE = 20.0
"""Seconds after which a worker that does not answer is a failure."""
STALLS = ("stall after open", "stall before swap", "stall before flush", "stall before publish")
HITCHES = ("", *STALLS, "lose the publish", "lose the publish's answer")
"""What may come between the steps of a call."""


@dataclass(frozen=True)
class Order:
    """One call to make. Marked: ``mark`` becomes a field, or, with a payment status, the order's id."""

    kind: str
    checkout_id: str
    mark: str = ""
    status: str = ""
    hitch: str = ""


class _Crash(BaseException):
    """The process ends here, as far as anybody can see."""


def perform(store: CheckoutStore, order: Order) -> dict[str, Any]:
    """Make a call, and put its answer into the words of the history. Our own errors are answers."""
    try:
        answer = _answer(store, order)
    except CheckoutError as error:
        return {"error": type(error).__name__, "detail": str(error)}
    except Exception as error:  # noqa: BLE001  (what it is, the judge will say)
        return {"error": type(error).__name__, "detail": str(error), "ours": False}
    if isinstance(answer, str):
        return {"durability": answer}
    if answer is None:
        return {}
    told: dict[str, Any] = {}
    if isinstance(answer, Acknowledgement):
        told = {"durability": str(answer.durability), "published": answer.published}
        answer = answer.session
    marks = frozenset(name for name in answer.fields if name.startswith("mark"))
    told |= {"version": answer.version, "marks": marks, "status": answer.status}
    return told | {"tier": str(answer.tier), "verified": answer.verified, "dirty": answer.dirty}


def _answer(store: CheckoutStore, order: Order) -> Acknowledgement | Session | str | None:
    name = order.checkout_id
    if order.kind == "get":
        return store.get(name)
    if order.kind == "peek":
        return store.admin.inspect(name).session
    if order.kind == "delete":
        return _deleted(store, name)
    if order.kind == "create":
        return store.create({order.mark: 1}, checkout_id=name)
    if order.kind == "pay":
        return store.set_payment_status(name, order.status, order_id=order.mark)
    return store.update(name, {order.mark: 1})


def _deleted(store: CheckoutStore, checkout_id: str) -> str:
    """Where it was deleted: with both servers away, a session that memory alone has goes from there alone."""
    tier, forget = "", store.memory_alone.delete

    def forgotten(*arguments: Any) -> None:
        nonlocal tier
        forget(*arguments)
        tier = "memory"

    store.memory_alone.delete = forgotten  # type: ignore[method-assign]
    try:
        store.delete(checkout_id)
    finally:
        store.memory_alone.delete = forget  # type: ignore[method-assign]
    return tier


class _Process:
    """The worker's side of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.clock = ManualClock()
        self.store: CheckoutStore | None = None
        self.hitch = ""

    def serve(self) -> None:
        while True:
            command, argument = self._next()
            if command == "stop":
                return
            try:
                self.pipe.send(getattr(self, command)(argument))
            except _Crash:
                self._leave()
                self.pipe.send({"error": "crashed"})

    def _next(self) -> tuple[str, Any]:
        command, now, argument = self.pipe.recv()
        self.clock.milliseconds, self.clock.seconds = now
        return command, argument

    def open(self, how: tuple[Settings, str]) -> dict[str, Any]:
        """A new process, which remembers nothing of what this one did before; perhaps without one mechanism."""
        settings, without = how
        self._leave()
        self.store = make_store(settings, self.clock)
        if without:
            MECHANISMS[without](self.store, setattr)
        self._hook(self.store.redis, "publish", self._publish)
        for name in ("open", "claim"):
            self._hook(self.store.redis, name, self._open)
        self._hook(self.store.redis, "swap", self._stalling("stall before swap"))
        self._hook(self.store.flush_log, "apply", self._stalling("stall before flush"))
        return {}

    def call(self, order: Order) -> dict[str, Any]:
        assert self.store is not None
        self.hitch = order.hitch
        try:
            return perform(self.store, order)
        finally:
            self.hitch = ""
            self.store.bookkeeping.flush()

    def _leave(self) -> None:
        if self.store is not None:  # not closed: a process that ends writes nothing down
            self.store.redis.close()
            self.store.database.close()
            self.store = None

    def _hook(self, target: Any, name: str, hook: Callable[..., Any]) -> None:
        original = getattr(target, name)
        setattr(target, name, lambda *arguments, **options: hook(original, *arguments, **options))

    def _open(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        opened = original(*arguments, **options)
        self._stall("stall after open")
        return opened

    def _stalling(self, where: str) -> Callable[..., Any]:
        def hook(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            self._stall(where)
            return original(*arguments, **options)

        return hook

    def _publish(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._stall("stall before publish")
        hitch, self.hitch = self.hitch, ""
        if hitch == "lose the publish":
            raise RedisUnavailable("the publish is lost, the test says")
        outcome = original(*arguments, **options)
        if hitch == "lose the publish's answer":
            raise RedisUnavailable("the publish's answer is lost, the test says")
        return outcome

    def _stall(self, where: str) -> None:
        if self.hitch != where:
            return
        self.hitch = ""
        self.pipe.send("stalled")
        command, _ = self._next()
        if command == "crash":
            raise _Crash


def serve(pipe: Connection) -> None:
    """The process's main function."""
    _Process(pipe).serve()


@dataclass
class Worker:
    """The test's side of the pipe. One call at a time; a stalled one goes on when it is told to."""

    clock: ManualClock
    number: int
    without: str = ""
    settings: Settings | None = None
    lives: int = 0
    stalled: Order | None = None
    _began: tuple[float, float] = (0.0, 0.0)
    _pipe: Any = field(default=None, repr=False)
    _process: Any = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process."""
        self._pipe, theirs = FORKED.Pipe()
        self._process = FORKED.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()

    @property
    def name(self) -> str:
        """A process that has crashed comes back as another one."""
        return f"process {self.number}.{self.lives}"

    def open(self, settings: Settings) -> None:
        """Become a new process on these servers."""
        self.settings = settings
        self.lives += 1
        self._ask("open", (settings, self.without))

    def call(self, order: Order) -> Call | None:
        """Make a call; ``None`` where it stalls."""
        self._began = (time.monotonic(), self.clock.seconds)
        return self._told(order, self._ask("call", order))

    def go_on(self) -> Call:
        """Let a stalled call go on, to its end."""
        order, self.stalled = self.stalled, None
        assert order is not None
        call = self._told(order, self._ask("go on"))
        assert call is not None
        return call

    def crash(self) -> None:
        """End as a process that is killed, in the midst of a call if one is stalled; and begin again."""
        if self.stalled is not None:
            self.stalled = None
            self._ask("crash")
        assert self.settings is not None
        self.open(self.settings)

    def _ask(self, command: str, argument: Any = None) -> Any:
        self._pipe.send((command, (self.clock.milliseconds, self.clock.seconds), argument))
        assert self._pipe.poll(PATIENCE), f"{self.name} does not answer"
        return self._pipe.recv()

    def _told(self, order: Order, answer: Any) -> Call | None:
        if answer == "stalled":
            self.stalled = order
            return None
        began, clock_began = self._began
        times = {"began": began, "ended": time.monotonic(), "clock_began": clock_began}
        mark = order.mark if order.kind in {"create", "update"} else ""
        return Call(self.name, order.kind, order.checkout_id, mark, clock_ended=self.clock.seconds, **times, **answer)

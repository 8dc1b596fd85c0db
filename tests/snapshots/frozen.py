"""A place where time stands still and nothing is left to chance, so that two runs of a command say the same."""

from __future__ import annotations

import datetime
import hashlib
import importlib
import importlib.util
import itertools
import os
import pkgutil
import pwd
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import redis
import time_machine

import checkout_cli
from checkout_cli.commands.cron.crontab import NOT_INSTALLED
from checkout_cli.commands.doctor import jobs as doctor_jobs
from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.servers.machine import Machine, Room
from checkout_cli.store.redis.bounded import BoundedConnection
from tests.snapshots.steady import commands_in, process_id, steady
from tests.support.doctoring import FakeMachine
from tests.support.in_process import Outcome, run_here
from tests.support.role_runs import Run, Scene
from tests.support.servers import ValkeyServer

BEGINNING = datetime.datetime(2026, 3, 2, 10, 0, tzinfo=datetime.UTC)
"""When a state is made."""
LATER = datetime.timedelta(seconds=95)
"""How much later a command is run on it."""
GONE = {"REDIS_PORT": "1"}
"""The environment of a command whose Redis is gone."""


for _module in pkgutil.walk_packages(checkout_cli.__path__, "checkout_cli."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)  # so that none takes a frozen watch for its default


class FrozenServer(ValkeyServer):
    """A Valkey whose clock stands where the test has put it: sessions grow older only when the test says so."""

    def start(self, timeout: float = 10.0) -> None:
        found = importlib.util.find_spec("libfaketime")
        assert found is not None
        assert found.origin is not None
        library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
        self.set_time(BEGINNING)
        frozen = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._time),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }
        with mock.patch.dict(os.environ, frozen):
            super().start(timeout)

    @property
    def _time(self) -> Path:
        return self.directory / "time"

    def set_time(self, moment: datetime.datetime, *, ticking: bool = False) -> None:
        """What time it is for the server from now on; with ``ticking`` it goes on from there."""
        offset = (moment - datetime.datetime.now(datetime.UTC)).total_seconds()
        text = f"{offset:+.6f}" if ticking else f"{moment:%Y-%m-%d %H:%M:%S}"
        self._time.with_suffix(".new").write_text(text)
        self._time.with_suffix(".new").replace(self._time)  # never read half written


class _Chance:
    """Tokens and ids in a fixed order."""

    def __init__(self, name: str) -> None:
        self._name, self._numbers = name, itertools.count(1)

    def hex(self, size: int | None = None) -> str:
        """As ``secrets.token_hex``."""
        return hashlib.sha512(f"{self._name}{next(self._numbers)}".encode()).hexdigest()[: 2 * (size or 32)]

    def uuid(self) -> Any:
        """As ``uuid.uuid4``."""
        import uuid

        return uuid.UUID(hex=self.hex(16), version=4)


class _Stopwatch(threading.local):
    """What is measured of our own takes a fixed time: each look at the watch is an eighth of a millisecond later."""

    looks = 0

    def __call__(self, _clock: int = 0) -> float:
        self.looks += 1
        return self.looks / 8000


@cache
def _timed() -> list[Any]:
    """Every function and method of the package that takes the real stopwatch if it is given none."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("checkout_cli.")]
    parts = [part for module in modules for part in vars(module).values()]
    parts += [part for kind in parts if isinstance(kind, type) for part in vars(kind).values()]
    return [part for part in parts if time.perf_counter in (getattr(part, "__kwdefaults__", None) or {}).values()]


@contextmanager
def frozen(moment: datetime.datetime, chance: str, *, ticking: bool = False) -> Iterator[None]:
    """Nothing of this process moves: neither time, which is in UTC, nor chance, which is named.

    With ``ticking``, the time goes on from that moment.
    """
    fixed, state = _Chance(chance), random.getstate()
    random.seed(chance)
    watch = _Stopwatch()
    with ExitStack() as stack:
        for function in _timed():
            defaults = {name: watch for name, value in function.__kwdefaults__.items() if value is time.perf_counter}
            stack.enter_context(mock.patch.dict(function.__kwdefaults__, defaults))
        for context in (
            time_machine.travel(moment, tick=ticking),
            mock.patch.dict(os.environ, {"TZ": "UTC"}),
            mock.patch("uuid.uuid4", fixed.uuid),
            mock.patch("secrets.token_hex", fixed.hex),
            mock.patch("socket.gethostname", return_value="shop-1"),
            mock.patch("time.perf_counter", watch),
            mock.patch("time.clock_gettime", time.clock_gettime if ticking else watch),
        ):
            stack.enter_context(context)
        time.tzset()
        try:
            yield
        finally:
            random.setstate(state)
    time.tzset()


@dataclass
class _Saved:
    """A state as it was made: keys with their times to live, configuration, and files."""

    keys: list[tuple[bytes, int, bytes]]
    configuration: dict[str, str]
    files: Path


MOVING = {"bench", "cron run"}
"""Where time has to pass, as for ``setup --yes``, which sees a session end: other processes have their own."""
INCIDENTS = {"incident.json": Scene.fill, "later.json": Scene.evicting}
"""Files of incidents, and the states that they tell of."""
KERNEL = {
    "proc/sys/vm/overcommit_memory": "0",
    "proc/sys/net/core/somaxconn": "4096",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet",
}
PROGRAMS = {
    "redis-server": "echo Redis server v=7.2.4 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=0",
    "redis-cli": "echo redis-cli 7.2.4",
    "crontab": "echo no crontab for operator >&2; exit 1",
}
"""The machine's programs, each as a shell script."""
CONFIGURED = ("maxmemory", "maxmemory-policy", "latency-monitor-threshold")


class Place(Scene):
    """A frozen server and a directory in which commands are run; each state is made once and brought back for each."""

    def __init__(self, directory: Path, server: FrozenServer, other: FrozenServer) -> None:
        self.directory, self.home, self.other = directory, directory / "home", other
        url = f"sqlite:///{self.home / 'checkout.db'}"
        super().__init__(server, Settings(redis_host=HOST, redis_port=server.port, database_url=url, timeout=2.0))
        self._saved: dict[str, _Saved] = {}

    @property
    def undo_file(self) -> Path:
        return self.home / "undo"

    def prepare(self, state: Callable[[Scene], None], *, ticking: bool = False) -> None:
        """Let it be as the state has it, a while after it was made."""
        name = state.__name__
        if name not in self._saved:
            self._make(state, name)
        saved = self._saved[name]
        shutil.rmtree(self.home)
        shutil.copytree(saved.files, self.home)
        for server in (self.server, self.other):
            server.set_time(BEGINNING)
        with self.server.client(socket_timeout=5) as client, self.other.client(socket_timeout=5) as other:
            other.flushall()
            pipeline = client.pipeline(transaction=False)
            pipeline.flushall()
            pipeline.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")  # or keys would go at any moment
            pipeline.script_flush()
            for key, left, value in saved.keys:
                pipeline.restore(key, max(left, 0), value)
            for option, value in saved.configuration.items():
                pipeline.config_set(option, value)
            pipeline.slowlog_reset()
            pipeline.execute_command("LATENCY", "RESET")
            pipeline.execute_command("ACL", "LOG", "RESET")
            pipeline.config_resetstat()
            pipeline.execute()
        for server in (self.server, self.other):
            server.set_time(BEGINNING + LATER, ticking=ticking)

    def _make(self, state: Callable[[Scene], None], name: str) -> None:
        for server in (self.server, self.other):
            server.set_time(BEGINNING)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        with frozen(BEGINNING, name), self._servers():
            self.empty()
            state(self)
        with self.server.client(socket_timeout=5) as client:
            keys = [(key, client.pttl(key), client.dump(key)) for key in sorted(client.scan_iter(count=1000))]
            configuration = {option: client.config_get(option)[option] for option in CONFIGURED}
        files = self.directory / f"files-{len(self._saved)}"
        shutil.copytree(self.home, files)
        self._saved[name] = _Saved(keys, configuration, files)

    def run(self, run: Run, *, more: dict[str, str] | None = None, columns: int | None = None) -> Outcome:
        """Run a command on its state; on a terminal of so many columns, or into a pipe."""
        for name in INCIDENTS.keys() & set(run.words):
            if not (file := self.directory / name).exists():
                file.write_text(self.run(Run("incident", "--out -", INCIDENTS[name])).out)
        ticking = run.command in MOVING or {"setup", "--yes"} <= set(run.words)
        self.prepare(run.state, ticking=ticking)
        environment = {
            "PATH": str(self.directory / "bin"),
            "HOME": str(self.home),
            "TZ": "UTC",
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.server.port),
            "DATABASE_URL": self.settings.database_url,
            **(more or {}),
        }
        with frozen(BEGINNING + LATER, "a run", ticking=ticking), self._servers(), self._machine():
            words = [self.filled_in(word) for word in run.words]
            done = run_here(words, environment, self.home, given=run.input or "", columns=columns)
        return replace(done, out=self._steady(done.out), err=self._steady(done.err))

    def filled_in(self, word: str) -> str:
        if word in INCIDENTS:
            return str(self.directory / word)
        return f"redis://{HOST}:{self.other.port}/0" if word == "{other}" else super().filled_in(word)

    @contextmanager
    def _servers(self) -> Iterator[None]:
        """Servers that are the same everywhere."""
        send, read = redis.Connection.send_packed_command, redis.Connection.read_response
        asked: defaultdict[redis.Connection, deque[list[bytes]]] = defaultdict(deque)

        def send_and_note(connection: redis.Connection, packed: Any, *arguments: Any, **options: Any) -> None:
            asked[connection].extend(commands_in(packed if isinstance(packed, bytes) else b"".join(packed)))
            send(connection, packed, *arguments, **options)

        def read_steadily(connection: redis.Connection, *arguments: Any, **options: Any) -> Any:
            command = asked[connection].popleft() if asked[connection] else []
            reply = read(connection, *arguments, **options)
            return steady(command, reply, "other" if connection.port == self.other.port else "server")

        def disconnect(connection: redis.Connection, *arguments: Any, **options: Any) -> None:
            asked.pop(connection, None)
            leave(connection, *arguments, **options)

        def exchange_steadily(connection: redis.Connection, packed: bytes, number: int) -> list[Any]:
            which = "other" if connection.port == self.other.port else "server"
            pairs = zip(commands_in(packed), exchange(connection, packed, number), strict=True)  # type: ignore[arg-type]
            return [reply if isinstance(reply, Exception) else steady(words, reply, which) for words, reply in pairs]

        leave, exchange = redis.Connection.disconnect, BoundedConnection.exchange
        with (
            mock.patch.multiple(
                redis.Connection,
                send_packed_command=send_and_note,
                read_response=read_steadily,
                disconnect=disconnect,
            ),
            mock.patch.object(BoundedConnection, "exchange", exchange_steadily),
        ):
            yield

    @contextmanager
    def _machine(self) -> Iterator[None]:
        """A machine that is the same everywhere, with our servers on it."""

        def begin(machine: Machine, root: Path = self.directory / "machine") -> None:
            machine.root = root

        machine = self.machine
        with (
            mock.patch.object(Machine, "__init__", begin),
            mock.patch.object(Machine, "process", lambda _, pid: machine.process(pid)),
            mock.patch.object(Machine, "_processes", return_value=machine._processes()),
            mock.patch.object(Machine, "_listening", lambda _, pid=None: machine._listening(pid)),
            mock.patch.object(Machine, "owner_of", lambda _, port: machine.owner_of(port)),
            mock.patch.object(Machine, "room", return_value=Room(100 * 2**30, 50 * 2**30)),
            mock.patch.object(
                doctor_jobs, "installed", return_value=NOT_INSTALLED
            ),  # whatever this machine's crontab has
            mock.patch("getpass.getuser", return_value="operator"),
            mock.patch("platform.platform", return_value="Linux-6.1-x86_64-with-glibc2.36"),
            mock.patch("platform.python_version", return_value="3.11.7"),
            mock.patch("os.getpid", return_value=4711),
        ):
            yield

    def build_machine(self) -> None:
        """Its kernel, its processes and its programs."""
        self.machine = machine = FakeMachine(self.directory / "machine")
        for path, text in KERNEL.items():
            machine.write(path, text)
        for name, server in (("server", self.server), ("other", self.other)):
            number, user = process_id(name), os.geteuid()
            machine.run(number, "valkey-server", title=f"valkey-server {HOST}:{server.port}", user=user)
            machine.listen(server.port, pid=number)
        for name, script in PROGRAMS.items():
            program = self.directory / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    def _steady(self, text: str) -> str:
        """Without what is another at each run, in the same width."""
        for found, instead in (
            (str(self.server.port), "63790"),
            (str(self.other.port), "63791"),
            (f"user {pwd.getpwuid(os.geteuid()).pw_name} ", "user operator "),
            (sys.executable, "/usr/bin/python3"),
        ):
            text = text.replace(found, instead)
        text = _OWN_NAME.sub(lambda name: "#" * len(name[0]), text)
        text = re.sub(r"(?<![0-9])[0-4](?=-59/5 )", "#", text)  # the minute of a job follows from its directory
        text = re.sub(r"checkout\.db \(\d+:\d+\)", "checkout.db (#:#)", text)  # the file system's number of the file
        text = re.sub(r"(expired after 0\.)\d\d(?= s)", r"\1##", text)  # how long ``setup`` has waited
        return re.sub(r'("seconds": ?0\.2)\d+', r"\1", text)  # how long ``monitor`` has listened


_OWN_LETTERS = "JQXZ"
"""No word of an output is made of these alone, so that the directory's name is found in a folded cell too."""
_OWN_NAME = re.compile(rf"(?<![A-Za-z0-9])[{_OWN_LETTERS}]+(?![A-Za-z0-9])")


def _new_directory() -> Path:
    while True:
        directory = Path("/tmp") / f"checkoutctl-{''.join(random.choices(_OWN_LETTERS, k=8))}"
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            return directory


@contextmanager
def place() -> Iterator[Place]:
    """The place, in a directory whose name is always as long: paths are in the output, and tables are as wide."""
    directory = _new_directory()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        stack.enter_context(mock.patch.object(tempfile, "tempdir", str(directory)))
        servers = [
            stack.enter_context(FrozenServer(directory / name, "--hash-seed", "snapshots"))
            for name in ("server", "other")
        ]
        made = Place(directory, *servers)
        made.build_machine()
        yield made

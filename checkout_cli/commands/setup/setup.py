"""Set everything up and prove that it works, or only look.

The order is the document's: what is installed, the environment file, the settings, Redis, the database, and then a
probe session through every tier. A check that fails says what to type, and the rest is checked all the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checkout_cli.commands.config import check as config_check
from checkout_cli.commands.config.check import ConfigReport, Severity
from checkout_cli.commands.setup import probe
from checkout_cli.config.addresses import is_loopback
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CheckoutError,
    DatabaseDenied,
    ExitCode,
    RedisUnavailable,
    TablesRefused,
    TierUnavailable,
)
from checkout_cli.files import env_file
from checkout_cli.files.env_file import EnvFilePlan
from checkout_cli.servers import installation
from checkout_cli.servers.installation import CLIENTS, SERVERS, Program, System

if TYPE_CHECKING:
    from checkout_cli.store.database.migrations import Upgrade

_USUAL_PORT = 6379
"""Where a server listens that is started without a configuration of its own."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One check: what was found, and what to type where it is not as it should be."""

    id: str
    status: Status
    evidence: str
    fix: str = ""
    exit_code: ExitCode = ExitCode.FINDING
    """Of a check that failed."""


@dataclass(frozen=True)
class SetupReport:
    """All checks, what was changed, and what to do next."""

    looked_only: bool
    changed: tuple[str, ...]
    checks: tuple[Check, ...]
    next_steps: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """A finding where a check failed; where the database refuses us, or we it, the code that says which."""
        failed = [check for check in self.checks if check.status is Status.FAILED]
        refused = [check.exit_code for check in failed if check.exit_code is not ExitCode.FINDING]
        return [*refused, ExitCode.FINDING][0] if failed else ExitCode.OK


@dataclass(frozen=True)
class Machine:
    """What we know of the machine that we run on."""

    system: System = field(default_factory=installation.this_system)
    programs: tuple[Program, ...] = field(default_factory=installation.found_programs)
    root: bool = field(default_factory=installation.is_root)
    service_manager: bool = field(default_factory=installation.has_service_manager)


@dataclass(frozen=True)
class Sources:
    """Where the settings come from: the flags, the environment (``None``: the process's), a directory's files.

    ``load`` replaces the plain loading of them, where more is to happen then.
    """

    directory: Path
    flags: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] | None = None
    load: Callable[[], Settings] | None = None

    def plan(self) -> EnvFilePlan:
        """What is to be written; raises ``ConfigurationError``."""
        return env_file.plan(self.directory, flags=self.flags, environ=self.environ)

    def settings(self) -> Settings:
        """The settings; raises ``ConfigurationError``."""
        if self.load is not None:
            return self.load()
        return Settings.load(directory=self.directory, flags=self.flags, environ=self.environ)

    def configuration(self) -> ConfigReport:
        """What is wrong with them."""
        return config_check.check(self.directory, flags=self.flags, environ=self.environ)


def probe_id() -> str:
    """The id of a new probe session."""
    return f"checkoutctl-probe-{uuid.uuid4()}"


def look(plan: EnvFilePlan, sources: Sources, *, machine: Machine | None = None) -> SetupReport:
    """Check everything that can be checked without changing anything: no file, no table, no probe session."""
    return _Setup(plan, sources, machine or Machine(), looked_only=True).report()


def run(
    plan: EnvFilePlan,
    sources: Sources,
    *,
    machine: Machine | None = None,
    clock: probe.Time | None = None,
    ids: Callable[[], str] = probe_id,
) -> SetupReport:
    """Carry the plan for the environment file out, create the database's tables, and prove every tier.

    The settings are read when the file is written.

    Raises:
        ConfigurationError: the environment file cannot be written; nothing else was tried.
    """
    setup = _Setup(plan, sources, machine or Machine(), looked_only=False, clock=clock or probe.Time(), ids=ids)
    if env_file.write(plan):
        setup.changed.append(str(plan.path))
    return setup.report()


class _Setup:
    """One run: the checks, in order, and what they learn for each other."""

    def __init__(
        self,
        plan: EnvFilePlan,
        sources: Sources,
        machine: Machine,
        *,
        looked_only: bool,
        clock: probe.Time | None = None,
        ids: Callable[[], str] = probe_id,
    ) -> None:
        self._plan = plan
        self._sources = sources
        self._machine = machine
        self._looked_only = looked_only
        self._clock = clock or probe.Time()
        self._ids = ids
        self.changed: list[str] = []

    def report(self) -> SetupReport:
        checks = tuple(self._checks())
        return SetupReport(self._looked_only, tuple(self.changed), checks, tuple(self._next_steps(checks)))

    def _checks(self) -> Iterator[Check]:
        try:
            settings = self._sources.settings()
        except CheckoutError as error:
            yield self._server(Status.SKIPPED, reason="the settings are wrong")
            yield self._client()
            yield self._env_file()
            yield _failed("settings", error, fix="checkoutctl config check")
            for name in ("redis", "database", "probe redis", "probe database"):
                yield Check(name, Status.SKIPPED, "the settings are wrong")
            yield self._memory_probe()
            return
        redis, round_trip = self._redis(settings)
        yield self._server(redis.status, reason=f"{settings.redis_place} answers")
        yield self._client()
        yield self._env_file()
        yield self._settings()
        yield redis
        database = self._database(settings)
        yield database
        yield self._redis_probe(settings, redis, round_trip)
        yield self._database_probe(settings, database)
        yield self._memory_probe()

    # What is installed

    def _server(self, redis: Status, *, reason: str) -> Check:
        """A server is needed on this machine only where none answers."""
        servers = [str(program) for program in self._machine.programs if program.name in SERVERS]
        if servers:
            return Check("server installed", Status.OK, ", ".join(servers))
        if redis is not Status.FAILED:
            return Check("server installed", Status.SKIPPED, f"none on PATH, and none needed: {reason}")
        install = installation.install_command(self._machine.system, root=self._machine.root)
        return Check("server installed", Status.WARN, f"none on PATH ({self._machine.system.name})", install)

    def _client(self) -> Check:
        clients = [str(program) for program in self._machine.programs if program.name in CLIENTS]
        if clients:
            return Check("client installed", Status.OK, ", ".join(clients))
        return Check("client installed", Status.SKIPPED, "neither redis-cli nor valkey-cli; checkoutctl needs none")

    # Configuration

    def _env_file(self) -> Check:
        plan = self._plan
        elsewhere = f"; left in .env: {', '.join(plan.elsewhere)}" if plan.elsewhere else ""
        if not plan.changes:
            return Check("env file", Status.OK, f"{plan.path.name} is complete{elsewhere}")
        if plan.obstacle:
            return Check("env file", Status.FAILED, plan.obstacle, f"ls -l {plan.path}")
        what = _what(plan)
        if self._looked_only:
            return Check("env file", Status.FAILED, f"{plan.path.name}: {what} missing{elsewhere}", "checkoutctl setup")
        return Check("env file", Status.OK, f"{plan.path.name}: {what} written, mode {env_file.MODE:o}{elsewhere}")

    def _settings(self) -> Check:
        """What ``config check`` says."""
        findings = self._sources.configuration().findings
        if not findings:
            return Check("settings", Status.OK, "all values are valid")
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        worst = (errors or findings)[0]
        others = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        evidence = f"{worst.subject}: {worst.problem}{others}"
        fix = "checkoutctl config check" if others else worst.fix
        return Check("settings", Status.FAILED if errors else Status.WARN, evidence, fix)

    # Servers

    def _redis(self, settings: Settings) -> tuple[Check, float]:
        """Whether Redis answers, and how long a round trip takes in seconds."""
        from checkout_cli.commands.ping.ping import told_more
        from checkout_cli.store.redis.admin import RedisAdmin

        try:
            with closing(RedisAdmin(settings)) as tier:
                tier.ping()  # connects
                round_trip = tier.ping()
                missing = tier.missing_servers()
        except CheckoutError as failure:
            error = told_more(failure, settings)
            return _failed("redis", error, fix=self._redis_fix(settings, error)), 0.0
        if missing:
            evidence = f"partial: no answer from {', '.join(missing)}; the others of the cluster answer"
            return Check("redis", Status.WARN, evidence, "checkoutctl health"), round_trip
        return Check("redis", Status.OK, f"{settings.redis_place} answers in {round_trip * 1000:.1f} ms"), round_trip

    def _redis_fix(self, settings: Settings, error: CheckoutError) -> str:
        """How to get a Redis, where nothing listens on this machine; else what the error says."""
        if settings.redis_sentinels or not isinstance(error, RedisUnavailable) or not _refused(error):
            return error.hint
        if not settings.redis_socket and not is_loopback(settings.redis_host):
            return f"start Redis on {settings.redis_host}, or correct REDIS_HOST and REDIS_PORT"
        machine = self._machine
        start = installation.start_command(
            machine.system, machine.programs, root=machine.root, service_manager=machine.service_manager
        )
        if settings.redis_socket:
            return f"start a server with unixsocket {settings.redis_socket}, or correct REDIS_SOCKET; usual: {start}"
        if settings.redis_port != _USUAL_PORT:
            return f"start a server on port {settings.redis_port}, or correct REDIS_PORT; for the usual port: {start}"
        if any(program.name in SERVERS for program in machine.programs):
            return start
        install = installation.install_command(machine.system, root=machine.root)
        return f"{install} && {start}" if machine.system.installer else f"{install}; then: {start}"

    def _database(self, settings: Settings) -> Check:
        """Whether the database answers and has our tables, which a set-up creates."""
        from checkout_cli.store.database.admin import DatabaseAdmin

        place = settings.database_place
        try:
            with closing(DatabaseAdmin(settings)) as tier:
                if not self._looked_only and (done := tier.upgrade_schema()) is not None:
                    self.changed.append("database schema")
                    return Check("database", Status.OK, f"{place}: {_made(done)}")
                if (outdated := tier.check_schema()) is not None:
                    return _failed("database", outdated)
                round_trip = tier.ping()
        except CheckoutError as error:
            away = error.hint == TierUnavailable.default_hint
            fix = "make the database reachable and writable, or correct DATABASE_URL" if away else error.hint
            return _failed("database", error, fix=fix)
        return Check("database", Status.OK, f"{place}: schema there, answers in {round_trip * 1000:.1f} ms")

    # Proof

    def _redis_probe(self, settings: Settings, redis: Check, round_trip: float) -> Check:
        name = "probe redis"
        if self._looked_only:
            return Check(name, Status.SKIPPED, "--check writes nothing")
        if redis.status is Status.FAILED:
            return Check(name, Status.SKIPPED, "Redis cannot be used")
        if not settings.enable_checkout_sessions:
            return Check(name, Status.SKIPPED, "REDIS_ENABLE_CHECKOUT_SESSIONS is false")
        return _proof(name, lambda: probe.probe_redis(settings, self._ids(), self._clock, round_trip))

    def _database_probe(self, settings: Settings, database: Check) -> Check:
        from checkout_cli.store.database.admin import DatabaseAdmin

        name = "probe database"
        if self._looked_only:
            return Check(name, Status.SKIPPED, "--check writes nothing")
        if database.status is Status.FAILED:
            return Check(name, Status.SKIPPED, "the database cannot be used")

        def prove() -> probe.Proof:
            with closing(DatabaseAdmin(settings)) as tier:
                return probe.probe_database(tier, self._ids(), self._clock)

        return _proof(name, prove)

    def _memory_probe(self) -> Check:
        if self._looked_only:
            return Check("probe memory", Status.SKIPPED, "--check writes nothing")
        return _proof("probe memory", lambda: probe.probe_memory(self._ids(), self._clock))

    # What to do next

    def _next_steps(self, checks: tuple[Check, ...]) -> Iterator[str]:
        failed = {check.id for check in checks if check.status is Status.FAILED}
        if "settings" in failed:
            yield "checkoutctl config check"
        if failed:
            yield "checkoutctl setup" + ("" if self._looked_only else "    (again, when that is fixed)")
            if "redis" in failed and not failed & {"settings", "database", "probe database"}:
                yield "checkoutctl health    (until then, sessions live in the database)"
                yield "checkoutctl demo    (the whole tour on an embedded server, without a Redis)"
        else:
            yield "checkoutctl health    (what each tier says)"
            yield "checkoutctl sessions list"
            yield "checkoutctl cleanup --expired    (for crontab)"


def _refused(error: BaseException) -> bool:
    """Whether nothing listens there, as opposed to something that hangs or misbehaves."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ConnectionRefusedError, FileNotFoundError)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _made(done: Upgrade) -> str:
    if not done.before:
        return "schema created"
    if done.before == done.after:
        return "what was missing of the schema created"
    return f"schema upgraded from version {done.before} to {done.after}, all rows kept"


def _what(plan: EnvFilePlan) -> str:
    number = len(plan.added)
    variables = f"{number} variable{'' if number == 1 else 's'}" if number else ""
    return variables or "the protection from other readers"


def _failed(name: str, error: CheckoutError, *, fix: str = "") -> Check:
    told = isinstance(error, (DatabaseDenied, TablesRefused))
    code = error.exit_code if told else ExitCode.FINDING
    return Check(name, Status.FAILED, str(error), fix or error.hint, code)


def _proof(name: str, prove: Callable[[], probe.Proof]) -> Check:
    try:
        proof = prove()
    except CheckoutError as error:
        return _failed(name, error)
    evidence = f"written, read, expired after {proof.expired_after:.2f} s, deleted"
    return Check(name, Status.OK, evidence)

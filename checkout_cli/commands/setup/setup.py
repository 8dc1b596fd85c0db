"""Set everything up and prove that it works, or only look.

The order is the document's: what is installed, the environment file, the settings, Redis, the database, and then a
probe session through every tier. A check that fails says what to type, and the rest is checked all the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checkout_cli.checks import Finding, Status, crit, ok, skipped, warn
from checkout_cli.commands.config import check as config_check
from checkout_cli.commands.ping.explain import Attempt
from checkout_cli.commands.setup import probe
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CheckoutError,
    DatabaseDenied,
    ExitCode,
    TablesRefused,
    TierUnavailable,
)
from checkout_cli.files import env_file
from checkout_cli.files.env_file import EnvFilePlan
from checkout_cli.servers.installation import CLIENTS, SERVERS
from checkout_cli.servers.machine import Machine

if TYPE_CHECKING:
    from checkout_cli.store.database.migrations import Upgrade

PINGS = 2
"""Round trips to Redis; the middle one says how long a probe has to live."""


@dataclass(frozen=True)
class SetupReport:
    """All checks by their names, what was changed, and what to do next."""

    looked_only: bool
    changed: tuple[str, ...]
    checks: Mapping[str, Finding]
    next_steps: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """A finding where a check failed; where the database refuses us, or we it, the code that says which."""
        codes = [found.exit_code for found in self.checks.values() if found.status is Status.CRIT]
        refused = [code for code in codes if code is not ExitCode.FINDING]
        return [*refused, *codes, ExitCode.OK][0]


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

    def configuration(self) -> Finding:
        """What is wrong with them."""
        return config_check.verdict(self.directory, flags=self.flags, environ=self.environ)


def look(plan: EnvFilePlan, sources: Sources, *, machine: Machine | None = None) -> SetupReport:
    """Check everything that can be checked without changing anything: no file, no table, no probe session."""
    return _Setup(plan, sources, machine or Machine(), looked_only=True).report()


def run(plan: EnvFilePlan, sources: Sources, *, machine: Machine | None = None) -> SetupReport:
    """Carry the plan for the environment file out, create the database's tables, and prove every tier.

    The settings are read when the file is written.

    Raises:
        ConfigurationError: the environment file cannot be written; nothing else was tried.
    """
    setup = _Setup(plan, sources, machine or Machine(), looked_only=False)
    if env_file.write(plan):
        setup.changed.append(str(plan.path))
    return setup.report()


_NOTHING_WRITTEN = skipped("--check writes nothing")


class _Setup:
    """One run: the checks, in order, and what they learn for each other."""

    def __init__(self, plan: EnvFilePlan, sources: Sources, machine: Machine, *, looked_only: bool) -> None:
        self._plan = plan
        self._sources = sources
        self._machine = machine
        self._looked_only = looked_only
        self.changed: list[str] = []

    def report(self) -> SetupReport:
        checks = dict(self._checks())
        return SetupReport(self._looked_only, tuple(self.changed), checks, tuple(self._next_steps(checks)))

    def _checks(self) -> Iterator[tuple[str, Finding]]:
        try:
            settings = self._sources.settings()
        except CheckoutError as error:
            wrong = skipped("the settings are wrong")
            yield "server installed", self._server(wrong, reason=wrong.evidence)
            yield "client installed", self._client()
            yield "env file", self._env_file()
            yield "settings", _failed(error, fix="checkoutctl config check")
            yield from ((name, wrong) for name in ("redis", "database", "probe redis", "probe database"))
            yield "probe memory", self._memory_probe()
            return
        attempt = Attempt.made(settings, self._machine, PINGS)
        redis = self._redis(attempt)
        yield "server installed", self._server(redis, reason=f"{settings.redis_place} answers")
        yield "client installed", self._client()
        yield "env file", self._env_file()
        yield "settings", self._sources.configuration()
        yield "redis", redis
        database = self._database(settings)
        yield "database", database
        yield "probe redis", self._redis_probe(settings, redis, attempt.summary.percentile(50) or 0.0)
        yield "probe database", self._database_probe(settings, database)
        yield "probe memory", self._memory_probe()

    # What is installed

    def _server(self, redis: Finding, *, reason: str) -> Finding:
        """A server is needed on this machine only where none answers."""
        here = self._machine.installation
        servers = [str(program) for program in here.programs if program.name in SERVERS]
        if servers:
            return ok(", ".join(servers))
        if redis.status is not Status.CRIT:
            return skipped(f"none on PATH, and none needed: {reason}")
        return warn(f"none on PATH ({here.system.name})", here.install_command)

    def _client(self) -> Finding:
        clients = [str(program) for program in self._machine.installation.programs if program.name in CLIENTS]
        return (
            ok(", ".join(clients)) if clients else skipped("neither redis-cli nor valkey-cli; checkoutctl needs none")
        )

    # Configuration

    def _env_file(self) -> Finding:
        plan = self._plan
        elsewhere = f"; left in .env: {', '.join(plan.elsewhere)}" if plan.elsewhere else ""
        if not plan.changes:
            return ok(f"{plan.path.name} is complete{elsewhere}")
        if plan.obstacle:
            return crit(plan.obstacle, f"ls -l {plan.path}")
        what = _what(plan)
        if self._looked_only:
            return crit(f"{plan.path.name}: {what} missing{elsewhere}", "checkoutctl setup")
        return ok(f"{plan.path.name}: {what} written, mode {env_file.MODE:o}{elsewhere}")

    # Servers

    def _redis(self, attempt: Attempt) -> Finding:
        """Whether Redis answers, as doctor sees it."""
        from checkout_cli.store.redis.admin import RedisAdmin

        found = attempt.finding()
        if found.status is Status.CRIT or not attempt.settings.is_cluster:
            return found
        try:
            with closing(RedisAdmin(attempt.settings)) as tier:
                tier.ping()
                missing = tier.missing_servers()
        except CheckoutError as error:
            return _failed(error)
        if not missing:
            return found
        return warn(
            f"partial: no answer from {', '.join(missing)}; the others of the cluster answer", "checkoutctl health"
        )

    def _database(self, settings: Settings) -> Finding:
        """Whether the database answers and has our tables, which a set-up creates."""
        from checkout_cli.store.database.admin import DatabaseAdmin

        place = settings.database_place
        try:
            with closing(DatabaseAdmin(settings)) as tier:
                if not self._looked_only and (done := tier.upgrade_schema()) is not None:
                    self.changed.append("database schema")
                    return ok(f"{place}: {_made(done)}")
                if (outdated := tier.check_schema()) is not None:
                    return _failed(outdated)
                round_trip = tier.ping()
        except CheckoutError as error:
            away = error.hint == TierUnavailable.default_hint
            fix = "make the database reachable and writable, or correct DATABASE_URL" if away else error.hint
            return _failed(error, fix=fix)
        return ok(f"{place}: schema there, answers in {round_trip * 1000:.1f} ms")

    # Proof

    def _redis_probe(self, settings: Settings, redis: Finding, round_trip: float) -> Finding:
        if self._looked_only:
            return _NOTHING_WRITTEN
        if redis.status is Status.CRIT:
            return skipped("Redis cannot be used")
        if not settings.enable_checkout_sessions:
            return skipped("REDIS_ENABLE_CHECKOUT_SESSIONS is false")
        return _proof(lambda: probe.probe_redis(settings, _probe_id(), probe.Time(), round_trip))

    def _database_probe(self, settings: Settings, database: Finding) -> Finding:
        from checkout_cli.store.database.admin import DatabaseAdmin

        if self._looked_only:
            return _NOTHING_WRITTEN
        if database.status is Status.CRIT:
            return skipped("the database cannot be used")

        def prove() -> float:
            with closing(DatabaseAdmin(settings)) as tier:
                return probe.probe_database(tier, _probe_id(), probe.Time())

        return _proof(prove)

    def _memory_probe(self) -> Finding:
        if self._looked_only:
            return _NOTHING_WRITTEN
        return _proof(lambda: probe.probe_memory(_probe_id(), probe.Time()))

    # What to do next

    def _next_steps(self, checks: Mapping[str, Finding]) -> Iterator[str]:
        failed = {name for name, found in checks.items() if found.status is Status.CRIT}
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


def _probe_id() -> str:
    return f"checkoutctl-probe-{uuid.uuid4()}"


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


def _failed(error: CheckoutError, *, fix: str = "") -> Finding:
    told = isinstance(error, (DatabaseDenied, TablesRefused))
    code = error.exit_code if told else ExitCode.FINDING
    return Finding(Status.CRIT, str(error), fix or error.hint, exit_code=code)


def _proof(prove: Callable[[], float]) -> Finding:
    try:
        return ok(f"written, read, expired after {prove():.2f} s, deleted")
    except CheckoutError as error:
        return _failed(error)

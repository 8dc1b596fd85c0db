"""Set everything up and prove that it works, or only check.

The order of the checks is the report's: what is installed, the environment file, the settings, Redis, the database, and
then a probe session through every tier. A check that fails has a fix, and the rest is checked all the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checkout_cli.checks import Check, Checks, Finding, Skip, Status, crit, ok, skipped, warn
from checkout_cli.clock import Clock
from checkout_cli.commands.config.check import check as check_configuration
from checkout_cli.commands.ping.explain import Attempt
from checkout_cli.commands.setup import probe
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    CommandDenied,
    DatabaseDenied,
    ExitCode,
    TablesRefused,
    TierUnavailable,
)
from checkout_cli.files import env_file
from checkout_cli.files.env_file import EnvFilePlan
from checkout_cli.servers.installation import CLIENTS, SERVERS
from checkout_cli.servers.machine import Machine
from checkout_cli.session import Durability
from checkout_cli.typed import is_typeable, typed

if TYPE_CHECKING:
    from checkout_cli.store.redis.admin import RedisAdmin

PINGS = 2
"""Round trips to Redis; the middle one says how long a probe has to live."""
_INSTALLED, _CONFIGURED, _SERVERS, _PROOF = "installed", "settings", "servers", "proof"
_SOUND_SETTINGS, _WRITING = "sound settings", "a run without --check"
"""Needs of checks."""


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

    @property
    def next_step(self) -> str:
        """The fix of the first check that failed, where it can be typed."""
        fixes = (found.fix for found in self.checks.values() if found.status is Status.CRIT)
        return next(filter(is_typeable, fixes), "checkoutctl doctor")


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
        """The change to ``.env.local``; raises ``ConfigurationError``."""
        return env_file.plan(self.directory, flags=self.flags, environ=self.environ)

    def settings(self) -> Settings:
        """The settings; raises ``ConfigurationError``."""
        if self.load is not None:
            return self.load()
        return Settings.load(directory=self.directory, flags=self.flags, environ=self.environ)


def run(
    plan: EnvFilePlan, sources: Sources, *, looked_only: bool = False, machine: Machine | None = None
) -> SetupReport:
    """Carry the plan for the environment file out, create the database's tables, and prove every tier.

    Or check only what can be checked without changing anything. The settings are read when the file is written. Raises
    ``ConfigurationError`` where that fails; nothing else was tried.
    """
    setup = Setup(plan, sources, machine or Machine(), looked_only=looked_only)
    if not looked_only and env_file.write(plan):
        setup.changed.append(str(plan.path))
    return setup.report()


class Setup:
    """One run: its checks, and what they learn for each other."""

    def __init__(self, plan: EnvFilePlan, sources: Sources, machine: Machine, *, looked_only: bool) -> None:
        self.plan = plan
        self.sources = sources
        self.machine = machine
        self.looked_only = looked_only
        self.changed: list[str] = []
        self._findings: dict[str, Finding] = {}

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises ``ConfigurationError``."""
        return self.sources.settings()

    @cached_property
    def attempt(self) -> Attempt:
        """Some round trips to Redis."""
        return Attempt.made(self.settings, self.machine, PINGS)

    @property
    def is_denied(self) -> bool:
        """Whether a Redis is there, and denies us access."""
        failure = self.attempt.summary.failure
        return failure is not None and isinstance(failure.error, AccessDenied)

    def finding(self, name: str) -> Finding:
        """The finding of a check, which runs once."""
        if name not in self._findings:
            try:
                self._findings[name] = self._run(CHECKS[name])
            except Skip as reason:
                self._findings[name] = skipped(str(reason))
            except CheckoutError as error:
                self._findings[name] = _failed(error)
        return self._findings[name]

    def _run(self, check: Check[Callable[[Setup], Finding]]) -> Finding:
        if _SOUND_SETTINGS in check.needs:
            try:
                self.settings  # noqa: B018  (raises where they are wrong)
            except CheckoutError as error:
                raise Skip("the settings are wrong") from error
        if _WRITING in check.needs and self.looked_only:
            raise Skip("--check writes nothing")
        return check.run(self)

    def report(self) -> SetupReport:
        """Run all checks."""
        checks = {name: self.finding(name) for name in CHECKS}
        return SetupReport(self.looked_only, tuple(self.changed), checks, tuple(self._next_steps(checks)))

    def _next_steps(self, checks: Mapping[str, Finding]) -> Iterator[str]:
        failed = {name for name, found in checks.items() if found.status is Status.CRIT}
        if failed:
            if not self.looked_only:
                yield "checkoutctl setup    (again, when that is fixed)"
            is_missing = "redis" in failed and checks["redis"].exit_code is not ExitCode.DENIED
            if is_missing and not failed & {"settings", "database", "probe database"}:
                yield "checkoutctl health    (until then, sessions live in the database)"
                yield "checkoutctl demo    (the whole tour on an embedded server, without a Redis)"
        else:
            yield "checkoutctl health    (what each tier says)"
            yield "checkoutctl sessions list"
            yield "checkoutctl cron install    (clean-up, sync and health, every five minutes)"


CHECKS: Checks[Callable[[Setup], Finding]] = Checks("setup")


@CHECKS.check("server installed", _INSTALLED)
def server_installed(setup: Setup) -> Finding:
    """redis-server or valkey-server is on PATH.

    One is needed on this machine only where no Redis answers.
    """
    here = setup.machine.installation
    if servers := [str(program) for program in here.programs if program.name in SERVERS]:
        return ok(", ".join(servers))
    redis = setup.finding("redis")
    if redis.status is Status.CRIT and redis.exit_code is ExitCode.DENIED:
        raise Skip("none on PATH, and none needed: a server is there, and denies access")
    if redis.status is Status.CRIT:
        return warn(f"none on PATH ({here.system.name})", here.install_command)
    reason = redis.evidence if redis.status is Status.SKIPPED else f"{setup.settings.redis_place} answers"
    raise Skip(f"none on PATH, and none needed: {reason}")


@CHECKS.check("client installed", _INSTALLED)
def client_installed(setup: Setup) -> Finding:
    """redis-cli or valkey-cli is on PATH.

    checkoutctl needs none; some of the fixes that it prints do.
    """
    clients = [str(program) for program in setup.machine.installation.programs if program.name in CLIENTS]
    if not clients:
        raise Skip("neither redis-cli nor valkey-cli; checkoutctl needs none")
    return ok(", ".join(clients))


@CHECKS.check("env file", _CONFIGURED)
def environment_file(setup: Setup) -> Finding:
    """.env.local has every variable that a Redis needs, and nobody else can read it.

    A set-up appends what is missing, after it has shown it; it changes no line that is there.
    """
    plan = setup.plan
    elsewhere = "".join(f"; left in {name}: {', '.join(names)}" for name, names in plan.elsewhere.items())
    if not plan.changes:
        return ok(f"{plan.path.name} is complete{elsewhere}")
    if plan.obstacle:
        raise CheckoutError(plan.obstacle, hint=typed("ls -l {}", plan.path))
    number = len(plan.added)
    variables = f"{number} variable{'' if number == 1 else 's'}" if number else "the protection from other readers"
    if setup.looked_only:
        raise CheckoutError(f"{plan.path.name}: {variables} missing{elsewhere}", hint="checkoutctl setup")
    return ok(f"{plan.path.name}: {variables} written, mode {env_file.MODE:o}{elsewhere}")


@CHECKS.check("settings", _CONFIGURED)
def settings(setup: Setup) -> Finding:
    """The settings can be read and make sense.

    As `checkoutctl config check` finds them.
    """
    try:
        setup.settings  # noqa: B018  (raises where they are wrong)
    except CheckoutError as error:
        return _failed(error, fix="checkoutctl config check")
    sources = setup.sources
    return check_configuration(sources.directory, flags=sources.flags, environ=sources.environ).verdict


@CHECKS.check("redis", _SERVERS, _SOUND_SETTINGS)
def redis(setup: Setup) -> Finding:
    """Redis answers at the address of the settings, every primary of a cluster included.

    Stage by stage, as `checkoutctl doctor --only connect` tells it.
    """
    from checkout_cli.servers.memory import KEEP
    from checkout_cli.store.redis.admin import RedisAdmin

    found, writes_behind = setup.attempt.finding(), setup.settings.durability == Durability.REDIS
    if setup.is_denied:
        return replace(found, exit_code=ExitCode.DENIED)
    if found.status is Status.CRIT or not (setup.settings.is_cluster or writes_behind):
        return found
    with closing(RedisAdmin(setup.settings)) as tier:
        if writes_behind and (evicting := _evicting(tier)):
            return crit(
                f"{evicting}, and CHECKOUT_DURABILITY is redis: writes that the database lacks could be evicted",
                KEEP,
            )
        if not setup.settings.is_cluster:
            return found
        tier.ping()
        missing = ", ".join(tier.missing_servers())
    if not missing:
        return found
    return warn(f"partial: no answer from {missing}; the others of the cluster answer", "checkoutctl health")


@CHECKS.check("database", _SERVERS, _SOUND_SETTINGS)
def database(setup: Setup) -> Finding:
    """The database answers, and has our tables in their latest version.

    A set-up creates and upgrades them; all rows are kept.
    """
    from checkout_cli.commands.doctor.database import encoding_finding
    from checkout_cli.store.database.admin import DatabaseAdmin

    place = setup.settings.database_place
    try:
        with closing(DatabaseAdmin(setup.settings)) as tier:
            done = None if setup.looked_only else tier.upgrade_schema()
            if done is not None:
                setup.changed.append("database schema")
            encoding = encoding_finding(tier) if done is not None or tier.schema_present() else None
            if encoding is not None and encoding.status is not Status.OK:
                return replace(encoding, evidence=f"{place}: {encoding.evidence}")
            if done is not None:
                made = "schema created" if not done.before else "what was missing of the schema created"
                upgraded = f"schema upgraded from version {done.before} to {done.after}, all rows kept"
                return ok(f"{place}: {upgraded if done.before and done.before != done.after else made}")
            if (outdated := tier.check_schema()) is not None:
                return _failed(outdated)
            return ok(f"{place}: schema there, answers in {tier.ping() * 1000:.1f} ms")
    except CheckoutError as error:
        is_away = error.hint == TierUnavailable.default_hint
        fix = "make the database reachable and writable, or correct DATABASE_URL"
        return _failed(error, fix=fix if is_away else "")


@CHECKS.check("probe redis", _PROOF, _SOUND_SETTINGS, _WRITING)
def probe_redis(setup: Setup) -> Finding:
    """A session can be written to Redis, read, expires, and can be deleted.

    It is called checkoutctl-probe-…, counts as cancelled, and leaves no trace.
    """
    if setup.finding("redis").status is Status.CRIT:
        raise Skip("Redis cannot be used")
    if not setup.settings.enable_checkout_sessions:
        raise Skip("REDIS_ENABLE_CHECKOUT_SESSIONS is false")
    round_trip = setup.attempt.summary.percentile(50)
    return _proven(probe.probe_redis(setup.settings, _probe_id(), Clock(), round_trip))


@CHECKS.check("probe database", _PROOF, _SOUND_SETTINGS, _WRITING)
def probe_database(setup: Setup) -> Finding:
    """A session can be written to the database, read, expires, and can be deleted.

    It is called checkoutctl-probe-…, counts in no total, and leaves no trace.
    """
    from checkout_cli.store.database.admin import DatabaseAdmin

    if setup.finding("database").status is Status.CRIT:
        raise Skip("the database cannot be used")
    with closing(DatabaseAdmin(setup.settings)) as tier:
        return _proven(probe.probe_database(tier, _probe_id(), Clock()))


@CHECKS.check("probe memory", _PROOF, _WRITING)
def probe_memory(_: Setup) -> Finding:
    """A session can be written to this process' memory, read, expires, and can be deleted.

    Memory is the last resort, where neither Redis nor the database answers.
    """
    return _proven(probe.probe_memory(_probe_id(), Clock()))


def _evicting(tier: RedisAdmin) -> str:
    """Which server may evict sessions, by which policy; empty: none of those that tell."""
    from checkout_cli.servers.inspection import Inspector
    from checkout_cli.servers.memory import Memory

    for server in tier.servers():
        try:
            memory = Memory.of(server.place, Inspector(server).info())
        except CommandDenied:
            continue
        if memory.evicts:
            return f"{memory.place} has the policy {memory.policy}"
    return ""


def _probe_id() -> str:
    return f"checkoutctl-probe-{uuid.uuid4()}"


def _proven(expired_after: float) -> Finding:
    return ok(f"written, read, expired after {expired_after:.2f} s, deleted")


def _failed(error: CheckoutError, *, fix: str = "") -> Finding:
    is_told = isinstance(error, (DatabaseDenied, TablesRefused))
    code = error.exit_code if is_told else ExitCode.FINDING
    return Finding(Status.CRIT, str(error), fix or error.hint, exit_code=code)

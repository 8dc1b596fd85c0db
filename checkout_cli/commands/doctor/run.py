"""Runs doctor's checks: one whose needs are not met is skipped, with the reason, and never fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import msgspec

from checkout_cli.checks import WORST_FIRST, Check, Checks, Finding, Status, crit, skipped
from checkout_cli.clock import Clock
from checkout_cli.commands.config.check import check as check_configuration
from checkout_cli.commands.doctor.check import CHECKS, HARM, Examine, Group, Need, check, finding_of
from checkout_cli.commands.doctor.context import COMMAND, DoctorContext
from checkout_cli.commands.doctor.serving import HURTING
from checkout_cli.commands.doctor.speed import BLOCKING
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, ConfigurationError, ExitCode, OwnMistake
from checkout_cli.files.last_look import LastLook
from checkout_cli.servers.machine import Machine
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.typed import is_typeable, typed

_MODULES = (
    *("run", "connection", "certificates", "serving", "sessions", "memory", "database", "jobs", "privacy"),
    *("security", "speed", "host"),
)
_BAD = (Status.CRIT, Status.WARN)
LASTING_COUNTERS = frozenset({"evicted_keys", "rejected_connections", *HURTING.values(), *BLOCKING.values()})
"""Counters whose growth is a finding for an hour, whichever checks have run."""


@dataclass(frozen=True)
class Result:
    """One check and its finding."""

    JSON_KEYS = (
        "id=check.id group=check.group title=check.title status evidence=finding.evidence fix?=finding.fix "
        "numbers=finding.numbers"
    )

    check: Check[Examine]
    finding: Finding

    @property
    def status(self) -> Status:
        """The status of its finding."""
        return self.finding.status


@dataclass(frozen=True)
class DoctorReport:
    """All results, at ``timestamp`` (ms), and why the next run will have nothing to compare with (``unwritten``).

    A finding as bad as ``fail_on`` is one for the exit code.
    """

    JSON_KEYS = "timestamp@ redis=place summary next?=next_step checks=in_order"

    timestamp: int
    place: str
    results: tuple[Result, ...]
    unwritten: str = ""
    fail_on: Status = Status.WARN

    @property
    def summary(self) -> dict[Status, int]:
        """The number of checks by status, the worst first."""
        return {status: self.count(status) for status in WORST_FIRST}

    @property
    def in_order(self) -> list[Result]:
        """Groups and their findings by the harm to shoppers: the group of the worst finding first."""
        by_harm = sorted(self.results, key=_harm)
        found = [result.check.group for result in by_harm if result.status in _BAD]
        groups = list(dict.fromkeys([*found, *Group]))
        return sorted(by_harm, key=lambda result: groups.index(Group(result.check.group)))

    @property
    def next_step(self) -> str:
        """The fix of the most harmful finding that has one to type; empty where all is well."""
        bad = [result for result in sorted(self.results, key=_harm) if result.status in _BAD]
        fixes = (result.finding.fix for result in bad)
        # A doctor's advice to call the doctor is only better than none.
        typeable = sorted(filter(is_typeable, fixes), key=lambda fix: fix.startswith("checkoutctl doctor"))
        if typeable or not bad:
            return typeable[0] if typeable else ""
        return typed("checkoutctl doctor --explain {}", bad[0].check.id)

    def count(self, status: Status) -> int:
        """The number of checks with a status."""
        return sum(result.status is status for result in self.results)

    @property
    def exit_code(self) -> ExitCode:
        """1 where a check is as bad as ``fail_on`` or worse."""
        bad = WORST_FIRST[: WORST_FIRST.index(self.fail_on) + 1]
        return ExitCode.FINDING if any(map(self.count, bad)) else ExitCode.OK


def _harm(result: Result) -> tuple[int, int, int]:
    """The status first; of equal ones, what hurts shoppers most."""
    name = result.check.id
    rank = HARM.index(name) if name in HARM else len(HARM)
    return WORST_FIRST.index(result.status), rank, list(Group).index(Group(result.check.group))


@check("configuration", Group.CONNECTION)
def configuration(context: DoctorContext) -> Finding:
    """The settings can be read and make sense.

    As ``checkoutctl config check`` finds them: every file, variable and combination, without asking a server.
    """
    return check_configuration(context.directory, environ=context.environ).verdict


def all_checks() -> Checks[Examine]:
    """Every check by its id, in the order of the report."""
    for name in _MODULES:
        import_module(f"{__package__}.{name}")
    groups = list(Group)

    def place(item: Check[Examine]) -> tuple[int, int]:
        return groups.index(Group(item.group)), _MODULES.index(item.run.__module__.rpartition(".")[2])

    checks = Checks[Examine](CHECKS.command)
    checks.update((item.id, item) for item in sorted(CHECKS.values(), key=place))
    return checks


def run_checks(
    load: Callable[[], Settings],
    checks: Sequence[Check[Examine]],
    *,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    last_look: LastLook | None = None,
    machine: Machine | None = None,
    progress: Callable[[int, int], None] | None = None,
    fail_on: Status = Status.WARN,
) -> DoctorReport:
    """Run checks on the servers of the settings, and keep the counters for the next run."""
    try:
        settings = load()
        store = CheckoutStore.open(settings)
    except ConfigurationError as error:
        wrong, others = crit("; ".join(error.problems), error.hint), skipped("the configuration is wrong")
        results = [Result(item, wrong if item.id == "configuration" else others) for item in checks]
        return DoctorReport(Clock().wall(), "", tuple(results), fail_on=fail_on)
    with store:
        environment = os.environ if environ is None else environ
        context = DoctorContext(store, directory, environment, last_look or LastLook(), machine or Machine())
        results = []
        for number, item in enumerate(checks):
            if progress is not None:
                progress(number, len(checks))
            results.append(Result(item, _run(item, context)))
        unwritten = _keep_counters(context)
        return DoctorReport(context.now(), settings.redis_place, tuple(results), unwritten, fail_on)


def _run(item: Check[Examine], context: DoctorContext) -> Finding:
    try:
        if Need.DATABASE in item.needs:
            context.insist_on_database()
        if Need.REDIS in item.needs:
            context.servers  # noqa: B018  (raises where there are none)
        found = item.run(context)
        return replace(found, fix=context.typeable(found.fix))
    except CheckoutError as error:
        return finding_of(error)
    except Exception as error:  # noqa: BLE001  (whatever it was, the other checks go on)
        return finding_of(OwnMistake(error))


def _keep_counters(context: DoctorContext) -> str:
    """Keep the counters as they are after all that this run has asked and was denied; why not, if that fails."""
    try:
        for place, reading in context.readings.items():
            found = reading.growths(context.last_look.previous(COMMAND, place), reading.counters)
            context.last_look.remember(COMMAND, place, msgspec.structs.replace(reading, found=found))
        for server in context.servers:
            context.note_answer(server)
            found = context.reading(server).growths(context.earlier(server), LASTING_COUNTERS)
            server.forget()
            context.last_look.remember(
                COMMAND, server.place, msgspec.structs.replace(context.reading(server), found=found)
            )
    except CheckoutError:
        return ""  # there are none: each check that needs them has said so
    except OSError as error:
        return context.last_look.reason(error)
    return ""

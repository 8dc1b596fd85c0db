"""Runs the checks: what a check needs and lacks makes it skipped, with the reason, never failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from checkout_cli.checks import WORST_FIRST, Finding, Skip, Status, crit, skipped, worst
from checkout_cli.commands.doctor.check import CHECKS, Check, Group, Need, check
from checkout_cli.commands.doctor.patient import COMMAND, Patient
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, ConfigurationError, ExitCode, InvalidInput, TierUnavailable
from checkout_cli.files.last_look import LastLook
from checkout_cli.servers.inspection import missing_grant
from checkout_cli.servers.machine import Machine
from checkout_cli.store.checkout_store import CheckoutStore

_MODULES = (
    *("connection", "certificates", "serving", "sessions", "external", "memory", "database", "jobs", "privacy"),
    *("security", "speed", "host"),
)


@dataclass(frozen=True)
class Result:
    """How one check ended."""

    JSON_KEYS = (
        "id=check.id group=check.group title=check.title status evidence=finding.evidence fix?=finding.fix "
        "numbers=finding.numbers"
    )

    check: Check
    finding: Finding

    @property
    def status(self) -> Status:
        """Of its finding."""
        return self.finding.status


@dataclass(frozen=True)
class DoctorReport:
    """All results, by group; ``timestamp`` is in milliseconds since the epoch.

    ``place`` is where Redis was looked for; ``unwritten`` says why the next run will have nothing to compare with.
    """

    JSON_KEYS = "timestamp@ redis=place summary checks=in_order"

    timestamp: int
    place: str
    results: tuple[Result, ...]
    unwritten: str = ""

    @property
    def summary(self) -> dict[Status, int]:
        """How many checks ended in which way, the worst first."""
        return {status: self.count(status) for status in WORST_FIRST}

    @property
    def in_order(self) -> list[Result]:
        """The groups in their order; within each, the worst first."""
        groups = list(Group)
        return sorted(
            self.results, key=lambda found: (groups.index(found.check.group), WORST_FIRST.index(found.status))
        )

    def count(self, status: Status) -> int:
        """How many checks ended so."""
        return sum(result.status is status for result in self.results)

    def exit_code(self, fail_on: Status) -> ExitCode:
        """1 where a check is as bad as ``fail_on`` or worse."""
        bad = {Status.WARN: {Status.WARN, Status.CRIT}, Status.CRIT: {Status.CRIT}}[fail_on]
        return ExitCode.FINDING if any(result.status in bad for result in self.results) else ExitCode.OK


@check("configuration", Group.CONNECTION)
def configuration(patient: Patient) -> Finding:
    """The settings can be read and make sense.

    As ``checkoutctl config check`` finds them: every file, variable and combination, without asking a server.
    """
    from checkout_cli.commands.config.check import verdict

    return verdict(patient.directory, environ=patient.environ)


def all_checks() -> dict[str, Check]:
    """Every check by its id, in the order of the report."""
    modules = [__name__, *(f"checkout_cli.commands.doctor.{name}" for name in _MODULES)]
    for name in modules:
        import_module(name)
    groups = list(Group)
    places = {name: place for place, name in enumerate(modules)}

    def place_of(item: Check) -> tuple[int, int]:
        return groups.index(item.group), places.get(item.module, len(modules))

    return {item.id: item for item in sorted(CHECKS.values(), key=place_of)}


def chosen(only: Sequence[str], skip: Sequence[str]) -> list[Check]:
    """The checks of a run; both lists name checks or whole groups.

    Raises:
        InvalidInput: there is no such check or group.
    """
    checks = all_checks()
    names = {*checks, *(str(group) for group in Group)}
    for name in (*only, *skip):
        if name not in names:
            raise InvalidInput(f"no check is called {name[:64]!r}", hint="checkoutctl doctor --explain all")
    wanted = [item for item in checks.values() if not only or {item.id, item.group} & set(only)]
    return [item for item in wanted if not {item.id, item.group} & set(skip)]


def examine(
    load: Callable[[], Settings],
    checks: Sequence[Check],
    *,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    last_look: LastLook | None = None,
    machine: Machine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DoctorReport:
    """Run checks on what the settings name, and remember the counters for the next run."""
    try:
        settings = load()
        store = CheckoutStore.open(settings)
    except ConfigurationError as error:
        return _unconfigured(error, checks)
    with store:
        patient = Patient(
            store,
            directory,
            os.environ if environ is None else environ,
            last_look=last_look or LastLook(),
            machine=machine,
        )
        results = []
        for number, item in enumerate(checks):
            if progress is not None:
                progress(number, len(checks))
            results.append(Result(item, _examined(item, patient)))
        return DoctorReport(patient.now(), settings.redis_place, tuple(results), _remember(patient))


def _examined(item: Check, patient: Patient) -> Finding:
    try:
        if Need.DATABASE in item.needs:
            patient.with_database()
        if Need.REDIS in item.needs:
            patient.servers  # noqa: B018  (raises where there are none)
        if item.examine is not None:
            return item.examine(patient)
        return _worst_of_servers(item, patient)
    except CheckoutError as error:
        return _why_none(error)


def _why_none(error: CheckoutError) -> Finding:
    grant = missing_grant(error)
    if grant is not None or isinstance(error, (Skip, TierUnavailable)):
        return skipped(grant or str(error))
    return crit(str(error), error.hint)


def _worst_of_servers(item: Check, patient: Patient) -> Finding:
    """One finding for all servers of a cluster; its evidence says at which one it is so."""
    assert item.examine_server is not None  # noqa: S101  (a check has one of the two)
    findings: list[tuple[str, Finding]] = []
    for server in patient.servers:
        try:
            if Need.LOCAL_SERVER in item.needs:
                patient.process(server)
            finding = item.examine_server(patient, server)
        except CheckoutError as error:
            finding = _why_none(error)
        findings.append((server.place, finding))
    found = worst(finding for _, finding in findings)
    assert found is not None  # noqa: S101  (there is a server)
    if len(findings) == 1:
        return found
    place = next(place for place, finding in findings if finding is found)
    alike = sum(finding.status is found.status for _, finding in findings)
    where = f"{place}: {found.evidence} ({alike} of {len(findings)} servers are {found.status})"
    return Finding(found.status, where, found.fix, {**found.numbers, "server": place, "servers": len(findings)})


def _remember(patient: Patient) -> str:
    """Keep the counters for the next run, as they are after all that this one has asked and was denied.

    Returns why that is not possible, if it is not.
    """
    try:
        for place, reading in patient.readings.items():
            patient.last_look.remember(COMMAND, place, reading)
        for server in patient.servers:
            server.forget()
            patient.last_look.remember(COMMAND, server.place, patient.reading(server))
    except CheckoutError:
        return ""  # there are none: each check that would need them has said so
    except OSError as error:
        return f"{patient.last_look.path}: {error.strerror or error}"
    return ""


def _unconfigured(error: ConfigurationError, checks: Sequence[Check]) -> DoctorReport:
    from checkout_cli.clock import Clock

    wrong = crit("; ".join(error.problems), error.hint)
    others = skipped("the configuration is wrong")
    results = tuple(Result(item, wrong if item.id == "configuration" else others) for item in checks)
    return DoctorReport(Clock().wall(), "", results)

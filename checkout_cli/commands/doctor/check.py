"""Doctor's checks: their groups, what they can need, and how one becomes a check.

A new check is one decorated function: its id, its group and its needs are in the decorator; its docstring is what
``doctor --explain`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING

from checkout_cli.checks import Checks, Finding, Skip, crit, skipped, worst
from checkout_cli.errors import CheckoutError, TierUnavailable
from checkout_cli.servers.inspection import Inspector, missing_grant

if TYPE_CHECKING:
    from checkout_cli.commands.doctor.context import DoctorContext


class Group(StrEnum):
    """What a check is about, in the order of what hurts shoppers first."""

    CONNECTION = "connection"
    SERVING = "serving"
    SESSIONS = "sessions"
    MEMORY = "memory"
    DATABASE = "database"
    JOBS = "jobs"
    PRIVACY = "privacy"
    SECURITY = "security"
    SPEED = "speed"
    HOST = "host"


HARM = (
    *("configuration", "connect", "port-in-use", "redis-emptied", "database", "database-write", "loading", "topology"),
    *(
        "write",
        "refused-commands",
        "pending",
        "evictions",
        "clients",
        "capability",
        "eviction-policy",
        "memory-headroom",
        "payload",
    ),
    *("conflicts", "drift", "index-kind", "persistence", "data-directory", "session-ttl", "index-missing"),
)
"""Checks in the order in which what they find hurts shoppers; all others come after them, in the groups' order."""


class Need(StrEnum):
    """What a check cannot do without, beside commands of Redis."""

    REDIS = "an answer of Redis"
    DATABASE = "an answer of the database"
    LOCAL_SERVER = "a Redis that provably runs on this machine"


Examine = Callable[["DoctorContext"], Finding]
ExamineServer = Callable[["DoctorContext", Inspector], Finding]

CHECKS: Checks[Examine] = Checks("doctor")
check = CHECKS.check


def server_check(name: str, group: Group, *needs: str) -> Callable[[ExamineServer], ExamineServer]:
    """Decorate a check of each Redis server; it needs an answer of Redis without saying so."""

    def enter(examine: ExamineServer) -> ExamineServer:
        @wraps(examine)
        def examine_all(context: DoctorContext) -> Finding:
            return _worst_of_servers(context, examine, local=Need.LOCAL_SERVER in needs)

        check(name, group, Need.REDIS, *needs)(examine_all)
        return examine

    return enter


def _worst_of_servers(context: DoctorContext, examine: ExamineServer, *, local: bool) -> Finding:
    """One finding for all servers of a cluster; its evidence names the server."""
    findings: dict[str, Finding] = {}
    for server in context.servers:
        try:
            if local:
                context.process(server)
            found = examine(context, server)
            findings[server.place] = replace(found, fix=context.typeable(found.fix, server))
        except CheckoutError as error:
            findings[server.place] = finding_of(error)
    bad = worst(findings.values())
    if bad is None:
        raise Skip("Redis does not answer")
    if len(findings) == 1:
        return bad
    place = next(place for place, finding in findings.items() if finding is bad)
    alike = sum(finding.status is bad.status for finding in findings.values())
    where = f"{place}: {bad.evidence} ({alike} of {len(findings)} servers are {bad.status})"
    return Finding(bad.status, where, bad.fix, {**bad.numbers, "server": place, "servers": len(findings)})


def finding_of(error: CheckoutError) -> Finding:
    """What an error says of a check: skipped for want of a need, critical otherwise."""
    grant = missing_grant(error)
    if grant is not None or isinstance(error, (Skip, TierUnavailable)):
        return skipped(grant or str(error))
    return crit(str(error), error.hint)

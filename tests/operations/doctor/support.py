"""Runs single checks against the servers of a test."""

from __future__ import annotations

from pathlib import Path

from checkout_cli.operations.doctor.check import Finding
from checkout_cli.operations.doctor.examination import DoctorReport, chosen, examine
from checkout_cli.operations.embedded import HOST
from checkout_cli.operations.last_look import LastLook
from checkout_cli.settings import Settings
from tests.servers import ValkeyServer


def settings_of(server: ValkeyServer, place: Path) -> Settings:
    """Settings for a server of the test's own, and a database that does not exist yet."""
    return Settings(
        redis_host=HOST, redis_port=server.port, database_url=f"sqlite:///{place / 'checkout.db'}", timeout=2
    )


def examined(settings: Settings, place: Path, *names: str) -> DoctorReport:
    """A run of the checks of these names, or of all; ``place`` keeps the counters for the next one."""
    return examine(
        lambda: settings, chosen(names, []), directory=place, environ={}, last_look=LastLook(place / "state")
    )


def finding(settings: Settings, place: Path, name: str) -> Finding:
    """What one check finds."""
    (result,) = examined(settings, place, name).results
    return result.finding

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.checks import Check, Finding, Skip, Status, crit, ok, warn
from checkout_cli.commands.doctor.check import CHECKS, Group, Need
from checkout_cli.commands.doctor.run import DoctorReport, Result, all_checks, run_checks
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, ExitCode, InvalidInput
from checkout_cli.files import last_look
from checkout_cli.servers.inspection import Info, Inspector
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import Command
from checkout_cli.store.redis.server import RedisServer
from tests.support.doctoring import examined, finding
from tests.support.odd_servers import ODD_SERVERS, OddServer
from tests.support.servers import ValkeyServer


@pytest.fixture
def new_check(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Enters a check for one test."""

    def enter(name: str, examine: Callable[..., Finding], *needs: str) -> None:
        examine.__module__ = run_checks.__module__  # as if it stood there
        monkeypatch.setitem(CHECKS, name, Check(name, Group.SERVING, needs, examine))

    return enter


@pytest.mark.parametrize("name", all_checks())
def test_every_check_explains_itself(name: str) -> None:
    check = all_checks()[name]
    assert check.title
    assert len(check.title) < 100
    assert len(check.explanation.splitlines()) > 2


def test_checks_are_chosen_by_name_and_by_group() -> None:
    assert [item.id for item in all_checks().chosen(["loading"], [])] == ["loading"]
    memory = {item.id for item in all_checks().chosen(["memory"], [])}
    assert {"evictions", "memory-limit"} <= memory
    assert {item.group for item in all_checks().chosen(["memory"], [])} == {Group.MEMORY}
    assert {item.id for item in all_checks().chosen(["memory"], ["evictions"])} == memory - {"evictions"}
    assert len(all_checks().chosen([], [])) == len(all_checks())


@pytest.mark.parametrize("name", ["eviction", "", "*", "memory,speed"])
def test_a_check_that_does_not_exist_is_a_usage_error(name: str) -> None:
    with pytest.raises(InvalidInput):
        all_checks().chosen([name], [])
    with pytest.raises(InvalidInput):
        all_checks().chosen([], [name])


def test_a_missing_need_skips_a_check_with_its_reason(
    new_check: Callable[..., None], store: CheckoutStore, tmp_path: Path
) -> None:
    def needy(_: Any) -> Finding:
        raise Skip("there is no such thing here")

    new_check("needy", needy)
    assert finding(store.settings, "needy", tmp_path) == Finding(Status.SKIPPED, "there is no such thing here")


@pytest.mark.parametrize("need", [Need.REDIS, Need.DATABASE])
def test_a_check_runs_only_where_what_it_needs_answers(
    new_check: Callable[..., None], settings: Settings, tmp_path: Path, need: Need
) -> None:
    new_check("needy", lambda _: ok("it ran"), need)
    away = replace(settings, redis_port=1, database_url=f"sqlite:///{tmp_path / 'not-there.db'}")
    found = finding(away, "needy", tmp_path)
    assert found.status is Status.SKIPPED
    assert "does not answer" in found.evidence


def test_a_configuration_that_is_wrong_is_the_finding(tmp_path: Path) -> None:
    def load() -> Settings:
        raise ConfigurationError("REDIS_PORT is 'x'")

    report = run_checks(load, all_checks().chosen([], []), directory=tmp_path, environ={})
    (wrong,) = [result for result in report.results if result.status is not Status.SKIPPED]
    assert (wrong.check.id, wrong.status) == ("configuration", Status.CRIT)
    assert "REDIS_PORT" in wrong.finding.evidence
    assert report.exit_code is ExitCode.FINDING


@pytest.mark.parametrize(
    ("findings", "fail_on", "code"),
    [
        ([ok("")], Status.WARN, ExitCode.OK),
        ([Finding(Status.SKIPPED, "")], Status.WARN, ExitCode.OK),
        ([ok(""), warn("", "")], Status.WARN, ExitCode.FINDING),
        ([ok(""), warn("", "")], Status.CRIT, ExitCode.OK),
        ([crit("", "")], Status.CRIT, ExitCode.FINDING),
    ],
)
def test_the_exit_code_says_whether_it_is_as_bad_as_asked_for(
    findings: list[Finding], fail_on: Status, code: ExitCode
) -> None:
    item = all_checks()["loading"]
    report = DoctorReport(0, "", tuple(Result(item, found) for found in findings), fail_on=fail_on)
    assert report.exit_code is code


def test_a_hung_server_costs_one_time_out_not_one_for_each_check(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = valkey_server()
    server.pause()
    asked: list[object] = []
    send = RedisServer.send
    monkeypatch.setattr(RedisServer, "send", lambda self, *args, **kw: asked.append(args) or send(self, *args, **kw))
    report = examined(replace(settings, redis_port=server.port), tmp_path, "serving", "memory", "speed")
    assert {result.status for result in report.results} == {Status.SKIPPED}
    assert asked == []  # the ping at the beginning was the one time-out


def test_counters_are_compared_with_the_last_run(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, tmp_path: Path
) -> None:
    server = valkey_server("--maxclients", "20")
    mine = replace(settings, redis_port=server.port)
    with server.client(socket_timeout=2) as client:
        client.keys("nothing:*")
        first = finding(mine, "blocking-commands", tmp_path)
        assert (first.status, first.numbers) == (Status.WARN, {"KEYS": 1})
        again = finding(
            mine, "blocking-commands", tmp_path
        )  # nobody has used it since, and it is a finding for an hour
        assert again.evidence.startswith("KEYS 1 times until 0 s ago, by 127.0.0.1:")
        assert again.numbers == {"KEYS": 1}
        client.keys("nothing:*")
        client.keys("nothing:*")
        assert finding(mine, "blocking-commands", tmp_path).numbers == {"KEYS": 2}


def test_whoever_blocks_the_others_is_named(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, tmp_path: Path
) -> None:
    server = valkey_server()
    mine = replace(settings, redis_port=server.port)
    with server.client(client_name="reports", socket_timeout=2) as client:
        client.keys("nothing:*")
        (address,) = [found["addr"] for found in client.client_list() if found["name"] == "reports"]
        client.config_set("slowlog-log-slower-than", 0)
        client.keys("nothing:*")
        client.config_set("slowlog-log-slower-than", -1)
        found = finding(mine, "blocking-commands", tmp_path)
    assert f"by {address} (reports)" in found.evidence


def test_without_a_place_for_the_counters_the_run_says_so_and_goes_on(store: CheckoutStore, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be")
    report = examined(store.settings, tmp_path, "evictions")
    assert report.results[0].status is Status.OK
    assert str(tmp_path) in report.unwritten


@pytest.mark.parametrize("odd", ["denied CONFIG"], indirect=True)
def test_what_doctor_itself_is_denied_is_not_counted_as_trouble(odd: OddServer, tmp_path: Path) -> None:
    for _ in range(3):
        report = examined(odd.settings(), tmp_path)
        found = {result.check.id: result.finding for result in report.results}
        assert found["refused-commands"].status is Status.OK, found["refused-commands"]
        assert found["data-directory"].status is Status.SKIPPED  # it was denied, and said so


class AskedFor(Inspector):
    """Notes what a check asks."""

    commands: set[str] = set()  # noqa: RUF012  (emptied by the test)

    def replies(self, *commands: Command) -> list[Any]:
        for command in commands:
            self._note(*command)
        return super().replies(*commands)

    def _ask(self, *command: bytes | str | int | float) -> Any:
        self._note(*command)
        return super()._ask(*command)

    def _config(self) -> dict[str, str]:
        self._note("CONFIG", "GET")
        return super()._config()

    @staticmethod
    def _note(*command: bytes | str | int | float) -> None:
        name = str(command[0]).lower()
        AskedFor.commands.add(f"{name}|{str(command[1]).lower()}" if name in CONTAINERS else name)


CONTAINERS = {"config", "slowlog", "latency", "memory", "client", "acl", "cluster"}


@pytest.mark.parametrize("name", [name for name, item in all_checks().items() if hasattr(item.run, "__wrapped__")])
def test_a_check_declares_every_command_that_it_asks(
    name: str, store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout_cli.commands.doctor.context.Inspector", AskedFor)
    AskedFor.commands.clear()
    examined(store.settings, tmp_path, name)
    if name == "capability":
        return  # it tries what others need
    assert AskedFor.commands - {"info"} <= set(all_checks()[name].named_needs)  # INFO is asked for the counters of all


@pytest.mark.parametrize("odd", [name for name in ODD_SERVERS if name.startswith(("no ", "denied "))], indirect=True)
def test_a_denied_command_turns_its_checks_into_skipped_ones_and_never_into_a_failure(
    odd: OddServer, tmp_path: Path
) -> None:
    command = odd.name.split()[-1]
    report = examined(odd.settings(), tmp_path, "serving", "memory", "speed")
    assert report.count(Status.CRIT) == 0
    reasons = {result.check.id: result.finding.evidence for result in report.results if result.status is Status.SKIPPED}
    if command == "INFO":
        wanted = "needs +info" if odd.name.startswith("denied") else "this server has no INFO"
        assert reasons["memory-headroom"].startswith(wanted)
        assert reasons["evictions"].startswith(wanted)
    if command == "SLOWLOG":
        assert reasons["slow-log"].startswith(("needs +slowlog", "this server has no SLOWLOG"))


@pytest.mark.parametrize("between", [(), ("clock",), ("connect", "clock")])
def test_a_finding_lasts_whichever_checks_run_between(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: tuple[str, ...]
) -> None:
    """And a fresh state directory makes no alarm of an old counter."""
    counters, info = {"evicted_keys": "40", "uptime_in_seconds": "86400"}, Inspector.info

    def told(self: Inspector) -> Info:
        sections = {name: dict(fields) for name, fields in info(self).sections.items()}
        sections["stats"]["evicted_keys"] = counters["evicted_keys"]
        sections["server"]["uptime_in_seconds"] = counters["uptime_in_seconds"]
        return Info(sections)

    monkeypatch.setattr(Inspector, "info", told)
    first = finding(store.settings, "evictions", tmp_path)
    assert (first.status, first.evidence) == (Status.OK, "none in this first look; 40 since the server started")
    counters["evicted_keys"] = "47"
    for name in between:
        finding(store.settings, name, tmp_path)
    for _ in range(3):
        found = finding(store.settings, "evictions", tmp_path)
        assert (found.status, found.numbers["evicted"]) == (Status.CRIT, 7)
    monkeypatch.setattr(last_look, "LASTING", 0)
    assert finding(store.settings, "evictions", tmp_path).status is Status.OK


def test_a_server_that_started_within_the_hour_has_evicted_lately(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = Info({"stats": {"evicted_keys": "40"}, "server": {"uptime_in_seconds": "600", "run_id": "a"}})
    monkeypatch.setattr(Inspector, "info", lambda _: grown)
    for _ in range(2):
        assert finding(store.settings, "evictions", tmp_path).status is Status.CRIT

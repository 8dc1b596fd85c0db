from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkout_cli.commands.memory.advice import Advice
from checkout_cli.commands.memory.limits import MEBIBYTE, Limits
from checkout_cli.commands.memory.outlook import State, state_of
from checkout_cli.commands.memory.persist import Persisted
from checkout_cli.commands.memory.tune import Step, Tuning
from checkout_cli.commands.memory.tune_view import proposal, show_advice, show_tuning
from checkout_cli.errors import CommandUnknown
from checkout_cli.servers.memory import Memory
from checkout_cli.servers.providers import provider_of
from checkout_cli.store.checkout_store import CheckoutStore


@pytest.fixture
def state(store: CheckoutStore) -> State:
    """A server with 3 MiB in use, of a limit of 4."""
    found = state_of(store.redis.servers()[0])
    return replace(
        found, limits=Limits(4 * MEBIBYTE, "noeviction", 5), memory=Memory(found.place, 3 * MEBIBYTE), config_file=""
    )


def shown(step: Step, capsys: pytest.CaptureFixture[str], **options: bool) -> str:
    show_tuning(Tuning((step,), asked=True, agreed=True), as_json=False, **options)
    return capsys.readouterr().out


def test_what_does_not_fit_is_told_in_numbers(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(Step(state, Limits(2 * MEBIBYTE, "noeviction", 5)), capsys)
    assert "the data does not fit: 3.0 MiB of 2.0 MiB are in use (150%); 1.0 MiB too much" in text
    assert "every write is refused" in text
    text = shown(Step(state, Limits(2 * MEBIBYTE, "allkeys-lru", 5)), capsys)
    assert "1.0 MiB are evicted at once" in text
    assert "any key may be evicted: live checkouts, and the index" in text


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("noeviction", "new sessions go to the database"),
        ("volatile-ttl", "all live checkouts have one"),
        ("allkeys-lfu", "live checkouts, and the index"),
    ],
)
def test_each_policy_says_what_it_does_to_checkouts(
    policy: str, told: str, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in shown(Step(state, Limits(4 * MEBIBYTE, policy, 5)), capsys)


def test_what_was_persisted_and_what_was_not(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = Limits(8 * MEBIBYTE, "noeviction", 5)
    kept = Persisted(True, "/etc/valkey.conf", "", (), seen=True)
    assert "it survives a restart" in shown(Step(state, wanted, wanted, kept), capsys)
    lost = Persisted(False, "/etc/valkey.conf", "read-only", ("maxmemory 8388608",))
    show_tuning(Tuning((Step(state, wanted, wanted, lost),), asked=True, agreed=True), as_json=False)
    out, err = capsys.readouterr()
    assert "into /etc/valkey.conf belongs: maxmemory 8388608" in out
    assert "survives" not in out
    assert "lost at the next restart: read-only" in err
    assert "unless redis.conf or valkey.conf has: maxmemory 8388608" in shown(Step(state, wanted, wanted), capsys)


def test_a_managed_service_is_named_and_its_setting_placed(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    managed = replace(
        state,
        no_config=CommandUnknown("no CONFIG", command="CONFIG"),
        provider=provider_of("shop.abc.euc1.cache.amazonaws.com", None),
    )
    step = Step(managed, managed.limits)
    tuning = Tuning((step,), asked=False)
    show_tuning(tuning, as_json=False)
    text = capsys.readouterr().out
    assert "Amazon ElastiCache" in text
    assert "parameter group" in text
    show_advice(Advice(8 * MEBIBYTE, "noeviction", ("because",), tuning), as_json=False)
    text = capsys.readouterr().out
    assert "parameter group" in text
    assert "next: checkoutctl" not in text  # it would be refused


def test_text_of_the_server_cannot_write_to_the_terminal(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    evil = replace(state, limits=Limits(0, "no\x1b]0;x\x07", 5), config_file="/etc/\x1b[2J.conf")
    for as_json in (False, True):
        show_tuning(Tuning((Step(evil, evil.limits),), asked=False), as_json=as_json)
        assert "\x1b" not in capsys.readouterr().out


def test_the_json_has_everything(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = Limits(2 * MEBIBYTE, "noeviction", 5)
    show_tuning(Tuning((Step(state, wanted),), asked=True), as_json=True, dry_run=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["changed"], found["dryRun"]) == (False, True)
    assert found["servers"][0]["proposed"]["excessBytes"] == MEBIBYTE
    assert found["servers"][0]["now"] is None


def test_the_proposal_names_each_server_and_what_changes_there(state: State) -> None:
    tuning = Tuning((Step(state, Limits(8 * MEBIBYTE, "noeviction", 5)),), asked=True, persist=True)
    shown = "\n".join(proposal(tuning))
    assert f"{state.place}: maxmemory 4mb -> 8mb" in shown
    assert "CONFIG REWRITE writes this, and all else that was changed" in shown

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.commands.memory import advice as memory_advice
from checkout_cli.commands.memory.advice import Advice, advise
from checkout_cli.commands.memory.limits import MEBIBYTE, known_policy, size_in_bytes
from checkout_cli.commands.memory.outlook import Sample, State, state_of
from checkout_cli.commands.memory.tune import Step, Tuning
from checkout_cli.config.settings import Settings
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.keys import Family
from checkout_cli.servers.embedded import HOST
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.memory import Memory
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import ValkeyServer

Pretend = Callable[..., Advice]
GIBIBYTE = 1 << 30


@pytest.fixture
def pretend(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pretend:
    """Advice for a server like the real one, but with other numbers in its INFO."""
    real = state_of(store.redis.servers()[0])

    def advice(
        *,
        used: int | None = None,
        sample: Sample | None = None,
        last: LastLook | None = None,
        forks: bool = False,
        **fields: str,
    ) -> Advice:
        plain = {name: value for section in real.info.sections.values() for name, value in section.items()}
        plain |= fields
        plain |= {"used_memory": str(used), "mem_not_counted_for_evict": "0"}
        info = Info({"all": plain})
        memory = None if used is None else Memory.of(real.place, info)
        state: State = replace(real, info=info, memory=memory, forks=forks, sample=sample)
        monkeypatch.setattr(memory_advice, "look", lambda _: Tuning((Step(state, state.limits),), asked=False))
        return advise(store, last or LastLook(tmp_path))

    return advice


@pytest.mark.parametrize("used", [0, MEBIBYTE, 300 * MEBIBYTE, 3 * GIBIBYTE, 5 * GIBIBYTE, 7 * GIBIBYTE])
@pytest.mark.parametrize("ram", [512 * MEBIBYTE, 8 * GIBIBYTE])
@pytest.mark.parametrize("forks", [False, True])
def test_it_is_never_below_what_is_in_use_nor_above_most_of_the_machine(
    used: int, ram: int, forks: bool, pretend: Pretend
) -> None:
    found = pretend(used=used, used_memory_peak=str(used), total_system_memory=str(ram), forks=forks)
    share = 0.6 if forks else 0.8
    if found.maxmemory is None:
        assert used >= ram * share - MEBIBYTE
        assert any("no limit fits" in reason for reason in found.reasons)
    else:
        assert used < found.maxmemory <= ram * share


def test_the_peak_and_the_growth_since_the_last_look_are_part_of_it(pretend: Pretend, tmp_path: Path) -> None:
    numbers = {"total_system_memory": str(64 * GIBIBYTE), "used_memory_peak": str(4 * GIBIBYTE)}
    by_peak = pretend(used=GIBIBYTE, **numbers)
    assert by_peak.maxmemory == 6 * GIBIBYTE
    last = LastLook(tmp_path)
    state = by_peak.now.steps[0].state
    now = 1_800_000_000_000
    last.remember("memory", state.place, Reading(now, state.run, {"used_memory": GIBIBYTE - 100 * MEBIBYTE}))
    grown = memory_advice._growth(state, last.previous("memory", state.place), now + 3_600_000)
    assert grown == pytest.approx(100 * MEBIBYTE)
    assert memory_advice._growth(state, last.previous("memory", state.place), now + 60_000) == 0  # too short
    other = Reading(now, "another run", {"used_memory": 0})
    assert memory_advice._growth(state, other, now + 3_600_000) == 0


def test_fragmentation_takes_its_part_of_the_machine(pretend: Pretend) -> None:
    numbers = {"total_system_memory": str(8 * GIBIBYTE), "used_memory_peak": str(5 * GIBIBYTE)}
    torn = pretend(
        used=3 * GIBIBYTE, mem_fragmentation_bytes=str(2 * GIBIBYTE), mem_fragmentation_ratio="1.60", **numbers
    )
    assert torn.maxmemory is not None
    assert torn.maxmemory <= 8 * GIBIBYTE * 0.8 / 1.6
    small = pretend(used=3 * GIBIBYTE, mem_fragmentation_bytes="1000", mem_fragmentation_ratio="9.0", **numbers)
    assert small.maxmemory is not None
    assert small.maxmemory > torn.maxmemory


def test_sessions_are_never_evicted_unless_caches_have_much_of_it(pretend: Pretend) -> None:
    sessions = Sample({Family.SESSIONS: 90, Family.DELIVERY: 10}, {Family.SESSIONS: 90_000})
    assert pretend(used=MEBIBYTE, sample=sessions).policy == "noeviction"
    cached = Sample(
        {Family.SESSIONS: 50, Family.DELIVERY: 50},
        {Family.SESSIONS: 50_000, Family.DELIVERY: 50_000},
    )
    found = pretend(used=MEBIBYTE, sample=cached)
    assert found.policy == "volatile-ttl"
    assert any("live checkouts as well" in reason for reason in found.reasons)
    others = Sample({Family.OTHER: 100}, {Family.OTHER: 1000})
    found = pretend(used=MEBIBYTE, sample=others)
    assert found.policy == "noeviction"
    assert any("another program" in reason for reason in found.reasons)


def test_what_it_says_to_type_can_be_typed(pretend: Pretend) -> None:
    words = pretend(used=GIBIBYTE, total_system_memory=str(8 * GIBIBYTE)).command.split()
    assert words[:4] == ["checkoutctl", "memory", "tune", "--maxmemory"]
    assert size_in_bytes(words[4]) > GIBIBYTE
    assert known_policy(words[6])


def test_without_info_no_limit_is_recommended(pretend: Pretend) -> None:
    found = pretend(used=None)
    assert found.maxmemory is None
    assert "--maxmemory" not in found.command


@pytest.mark.parametrize(
    ("arguments", "forks"), [((), False), (("--save", "3600 1"), True), (("--appendonly", "yes"), True)]
)
def test_a_server_that_writes_to_disk_needs_room_for_a_fork(
    arguments: tuple[str, ...], forks: bool, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server(*arguments)
    settings = Settings(redis_host=HOST, redis_port=server.port, database_url=f"sqlite:///{tmp_path / 'x.db'}")
    with CheckoutStore.open(settings) as store:
        assert state_of(store.redis.servers()[0]).forks is forks


def test_real_sessions_and_caches_are_told_apart(store: CheckoutStore) -> None:
    for number in range(30):
        store.create({"totalAmount": number})
        store.redis.ask(("SET", f"delivery:cache:{number}:1", "x" * 100_000, "PX", 60_000))
    found = advise(store)
    assert found.policy == "volatile-ttl"
    sample = found.now.steps[0].state.sample
    assert sample is not None
    assert sample.keys[Family.SESSIONS] == 30
    assert sample.keys[Family.DELIVERY] == 30

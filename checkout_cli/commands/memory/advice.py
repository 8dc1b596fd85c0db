"""A limit and a policy that fit the data, recommended with reasons in numbers.

Never less than what is in use, never more than :data:`MOST_OF_RAM`, and never a policy that evicts keys without a time
to live.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from checkout_cli.commands.memory.growth import growth_between, reading_of
from checkout_cli.commands.memory.limits import MEBIBYTE, as_written
from checkout_cli.commands.memory.outlook import State
from checkout_cli.commands.memory.tune import LOOK, Tuning, look
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.keys import Family
from checkout_cli.store.checkout_store import CheckoutStore

MOST_OF_RAM = 0.8
MOST_WITH_FORK = 0.6
"""While a snapshot is written, changed pages are in memory twice."""
HEADROOM = 1.5
"""Times the peak."""
SMALLEST = 256 * MEBIBYTE
HOURS_AHEAD = 24
SHORTEST_TREND = 600.0
"""Growth over less time than this is no trend, in seconds."""
MANY_CACHED = 0.25
"""From this share of the bytes on, caches are worth evicting before writes are refused."""
LEAST_FRAGMENTATION = 100 * MEBIBYTE
"""Less fragmentation than this says nothing about a server."""

_CACHES = (Family.DELIVERY, Family.COUPON)


@dataclass(frozen=True)
class Advice:
    """A recommendation for all servers. ``maxmemory`` is ``None`` where no limit fits: ``reasons`` say why."""

    maxmemory: int | None
    policy: str
    reasons: tuple[str, ...]
    now: Tuning

    @property
    def command(self) -> str:
        limit = "" if self.maxmemory is None else f" --maxmemory {as_written(self.maxmemory)}"
        return f"{LOOK}{limit} --policy {self.policy}"


def advise(store: CheckoutStore, last_look: LastLook | None = None) -> Advice:
    """Recommend one limit and one policy for all servers; raises as :func:`look` does."""
    now = look(store)
    memory = last_look or LastLook()
    states = [step.state for step in now.steps]
    wanted = 0
    reasons: list[str] = []
    for state in states:
        need, why = _needed(state, memory.previous("memory", state.place), store.clock.wall())
        wanted, reasons = max(wanted, need), [*reasons, *why]
    caps = [(cap, why) for cap, why in map(_cap, states) if cap is not None]
    cap, why_cap = min(caps, default=(None, "it does not tell how much RAM the machine has, so check that it fits"))
    policy, why_policy = _policy(states)
    in_use = max((state.counted or 0 for state in states), default=0)
    limit = math.ceil(wanted / MEBIBYTE) * MEBIBYTE
    if cap is not None:
        limit = min(limit, cap // MEBIBYTE * MEBIBYTE)
    fits = limit > in_use
    if wanted and not fits:
        reasons.append(f"no limit fits: {in_use:,} bytes are in use, and at most {cap:,} should be; a larger machine")
    return Advice(limit if fits else None, policy, (*reasons, why_cap, *why_policy), now)


def _needed(state: State, earlier: Reading | None, now: int) -> tuple[int, list[str]]:
    if state.memory is None:
        return 0, [f"{state.place} does not tell how much memory is in use, so no limit can be recommended"]
    used, peak = state.memory.counted, state.memory.peak or 0
    most = max(used, peak)
    reasons = [f"{state.place}: {used:,} bytes are in use, {peak:,} were at most; {HEADROOM:g} times the larger"]
    growth = _growth(state, earlier, now)
    if growth > 0:
        reasons.append(f"it grows by {growth:,.0f} bytes an hour: {HOURS_AHEAD} hours more")
    needed = int(most * HEADROOM + max(growth, 0) * HOURS_AHEAD)
    if needed < SMALLEST:
        reasons.append(f"never less than {as_written(SMALLEST)}: such little data may soon be more")
    return max(needed, SMALLEST), reasons


def _growth(state: State, earlier: Reading | None, now: int) -> float:
    growth, _ = growth_between(earlier, reading_of(state.info, now))
    return growth.size_per_minute * 60 if growth is not None and growth.seconds >= SHORTEST_TREND else 0.0


def _cap(state: State) -> tuple[int | None, str]:
    memory = state.info.integer("total_system_memory")
    if not memory:
        return None, ""
    share = MOST_WITH_FORK if state.forks else MOST_OF_RAM
    cap, why = memory * share, f"at most {share:.0%} of the machine's {memory:,} bytes of RAM"
    if state.forks:
        why += ", since a fork for snapshots, the append-only file or a replica needs the rest"
    lost, ratio = state.info.integer("mem_fragmentation_bytes") or 0, state.info.number("mem_fragmentation_ratio")
    if lost > LEAST_FRAGMENTATION and ratio is not None and ratio > 1:
        cap, why = cap / ratio, f"{why}, and fragmentation takes {ratio:g} times what is stored"
    return int(cap), f"{why} (a container may have less)"


def _policy(states: list[State]) -> tuple[str, list[str]]:
    samples = [state.sample for state in states if state.sample is not None and any(state.sample.keys.values())]
    if not samples:
        return "noeviction", ["no keys could be looked at; under noeviction no checkout is ever evicted"]
    keys = sum(sum(sample.keys.values()) for sample in samples)
    sessions = sum(sample.keys.get(Family.SESSIONS, 0) for sample in samples)
    others = sum(sample.keys.get(Family.OTHER, 0) for sample in samples)
    cached = max((sample.share_of_bytes(*_CACHES) or 0.0) for sample in samples)
    seen = [f"of about {keys:,} keys, {sessions:,} are sessions; caches have {cached:.0%} of the bytes"]
    if others:
        seen.append(f"{others:,} are no checkout's: another program shares this memory; a Redis of its own is safer")
    refuses = "when full, noeviction refuses writes, and new sessions go to the database"
    if cached < MANY_CACHED:
        return "noeviction", [*seen, f"noeviction never evicts a live checkout: {refuses}"]
    return "volatile-ttl", [
        *seen,
        "volatile-ttl keeps writes going, and evicts first what expires soonest: caches, but live checkouts as well",
        f"noeviction would evict no checkout: {refuses}",
    ]

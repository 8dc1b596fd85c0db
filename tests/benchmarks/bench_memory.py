"""``memory families`` at a million keys of all families: against ``redis-cli --memkeys``, and what a sample is worth.

It takes about 1 GB and two minutes. ``redis-cli`` must be installed (Debian: redis-tools).

``python -m tests.benchmarks.bench_memory``; with ``redis`` behind it, on the system's ``redis-server``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from checkout_cli.commands.memory.groups import measure_families, sample_families
from checkout_cli.commands.memory.tally import FamiliesReport
from checkout_cli.config.settings import Settings
from checkout_cli.keys import Family
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.redis.admin import RedisAdmin
from tests.benchmarks.harness import Result, duration, once, peak_memory, show
from tests.support.servers import RedisServer, ValkeyServer

KEYS = 1_000_000
SAMPLE = 20_000
RUNS = 40
EXACT_BAR, SAMPLE_BAR = 0.25, 1.0
MOST_MEMORY = 100
"""MB that the process may take at its peak."""

_FILL = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local kind = n % 100
  local id = string.format('%08x-0000-4000-8000-%012x', (n * 2654435761) % 4294967296, n)
  if kind < 60 then
    local length = 700 + n % 600
    if n % 1000 == 7 then length = 60000 end
    redis.call('SET', 'checkout:session:' .. id, string.rep('x', length), 'PX', 7200000 + n)
    redis.call('ZADD', 'checkout:index', n, id)
  elseif kind < 75 then redis.call('SET', 'delivery:cache:' .. n .. ':500', '{"fee":40}', 'PX', 7200000)
  elseif kind < 85 then redis.call('SET', 'coupon:cache:C' .. n, string.rep('y', 200), 'PX', 7200000)
  elseif kind < 95 then redis.call('HSET', 'user:session:' .. id, 'firstSeen', '2026-01-01', 'started', '3')
  else redis.call('SET', 'other:' .. n, string.rep('z', 10 + math.floor(10 / (0.0005 + math.random())))) end
end
"""
"""Sessions of which one in a thousand is fifty times as large, and other keys whose sizes have a long tail."""


def fill(server: ValkeyServer) -> None:
    """A million keys, and those of which there is one each."""
    with server.client(socket_timeout=120) as client:
        for first in range(0, KEYS, 2000):
            client.eval(_FILL, 0, first, first + 1999)
        for number in range(60):
            client.hset(f"stats:minute:{29_000_000 + number}", mapping={"created": 1, "completed": 2})
        client.set("checkout:lock:cleanup", "x")
        client.sadd("checkout:pending", *(f"pending-{number}" for number in range(5000)))


COMMAND = (sys.executable, "-m", "checkout_cli", "memory", "families", "--json")


def environment(server: ValkeyServer) -> dict[str, str]:
    """What the command needs to find the server."""
    return {"PATH": os.environ.get("PATH", ""), "REDIS_HOST": HOST, "REDIS_PORT": str(server.port)}


def run_command(server: ValkeyServer, *options: str) -> None:
    """The whole command, from its start to its end."""
    command = [*COMMAND, *options]
    done = subprocess.run(command, env=environment(server), cwd=server.directory, capture_output=True, check=True)
    assert json.loads(done.stdout)["lookedAt"] >= SAMPLE // 2


def memkeys(server: ValkeyServer) -> None:
    """The same question, as redis-cli answers it."""
    command = [shutil.which("redis-cli") or "redis-cli", "-h", HOST, "-p", str(server.port), "--memkeys"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"keys in the keyspace" in done.stdout


def covered(truth: FamiliesReport, estimate: FamiliesReport) -> Counter[tuple[Family, str]]:
    """For each family, whether the true number of keys and of bytes is inside the bounds."""
    hits: Counter[tuple[Family, str]] = Counter()
    for true, guessed in zip(truth.families, estimate.families, strict=True):
        for what, value, bound in (
            ("keys", true.keys, guessed.keys_bound),
            ("bytes", true.size or 0, guessed.size_bound),
        ):
            assert bound is not None
            inside = bound.low <= value and (bound.high is None or value <= bound.high)
            hits[true.family, what] += inside
    return hits


def coverage(server: ValkeyServer) -> None:
    """Print in how many of the runs each true value was inside its bounds, and how wide they were."""
    redis = RedisAdmin(Settings(redis_host=HOST, redis_port=server.port, timeout=5.0))
    truth = measure_families(redis)
    estimates = [sample_families(redis, SAMPLE, random=Random(seed)) for seed in range(RUNS)]
    redis.close()
    hits: Counter[tuple[Family, str]] = Counter()
    for estimate in estimates:
        hits += covered(truth, estimate)
    took = sorted(estimate.took for estimate in estimates)
    print(f"\n{RUNS} samples of {SAMPLE:,} keys: {duration(took[RUNS // 2])} each, at most {duration(took[-1])}")
    for place, true in enumerate(truth.families):
        last = estimates[-1].families[place]
        print(
            f"{true.family:10}  keys {hits[true.family, 'keys']:2}/{RUNS} {true.keys:>9,} in {_text(last.keys_bound)}"
            f"  bytes {hits[true.family, 'bytes']:2}/{RUNS} {true.size or 0:>13,} in {_text(last.size_bound)}"
        )


def _text(bound: object) -> str:
    low, high = getattr(bound, "low", 0), getattr(bound, "high", None)
    return f"{low:,} … {'?' if high is None else f'{high:,}'}"


def main() -> None:
    """Measure, and print."""
    kind = RedisServer if sys.argv[1:] == ["redis"] else ValkeyServer
    with (
        tempfile.TemporaryDirectory(prefix="checkoutctl-benchmark-") as directory,
        kind(Path(directory) / "s") as server,
    ):
        fill(server)
        exact = [once(lambda: run_command(server))]
        baseline = [once(lambda: memkeys(server))]
        exact.append(once(lambda: run_command(server)))
        peak = peak_memory(COMMAND, env=environment(server), cwd=server.directory)
        sample = sorted(once(lambda: run_command(server, "--sample", str(SAMPLE))) for _ in range(5))[2]
        show(
            f"Memory by family of {KEYS:,} keys, whole processes",
            [
                Result("memory families / redis-cli --memkeys", max(exact), baseline[0], bar=EXACT_BAR),
                Result(f"memory families --sample {SAMPLE} / 1 s", sample, 1.0, bar=SAMPLE_BAR),
            ],
        )
        verdict = "ok" if peak <= MOST_MEMORY else "MISSED"
        print(f"peak memory of the process: {peak:.0f} MB; bar {MOST_MEMORY} MB: {verdict}")
        coverage(server)


if __name__ == "__main__":
    main()

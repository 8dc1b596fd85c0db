"""``checkoutctl serve`` under 200 clients for 20 seconds: no error, and no memory that grows.

``python -m tests.benchmarks.bench_serve``
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.benchmarks.harness import fill, place
from tests.support.ports import free_port

CLIENTS, SECONDS, SESSIONS = 200, 20.0, 10_000
TOKEN = "f00dcafe" * 4
PATHS = ("/live", "/ready", "/api/redis/health", "/metrics")


async def client(base: str, number: int, until: float, answers: Counter[str], times: list[float]) -> None:
    """One after the other, each on its own connection that is kept."""
    async with httpx.AsyncClient(base_url=base, timeout=30) as http:
        turn = number
        while time.monotonic() < until:
            turn += 1
            begun = time.perf_counter()
            try:
                if turn % 20 == 0:
                    headers = {"Authorization": f"Bearer {TOKEN}"}
                    body = {"action": "get_all_sessions", "limit": 20}
                    answer = await http.post("/api/redis/cleanup", json=body, headers=headers)
                else:
                    answer = await http.get(PATHS[turn % len(PATHS)])
                answers[str(answer.status_code)] += 1
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1
            times.append(time.perf_counter() - begun)


def resident(pid: int) -> float:
    """Megabytes that a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def load(base: str, pid: int) -> tuple[Counter[str], list[float], list[float]]:
    """The answers by status, how long they took, and the server's memory every second."""
    answers: Counter[str] = Counter()
    times: list[float] = []
    memory = []
    until = time.monotonic() + SECONDS
    running = [asyncio.create_task(client(base, number, until, answers, times)) for number in range(CLIENTS)]
    while time.monotonic() < until:
        memory.append(resident(pid))
        await asyncio.sleep(1)
    await asyncio.gather(*running)
    return answers, times, memory


def main() -> None:
    """Measure, and print."""
    with place() as where, tempfile.TemporaryDirectory() as home:
        fill(where, SESSIONS)
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "REDIS_HOST": where.settings.redis_host,
            "REDIS_PORT": str(where.settings.redis_port),
            "DATABASE_URL": where.settings.database_url,
            "CHECKOUT_SERVE_TOKEN": TOKEN,
        }
        command = [sys.executable, "-m", "checkout_cli", "serve", "--port", str(port)]
        with subprocess.Popen(command, env=environment, cwd=home, stderr=subprocess.DEVNULL) as process:
            base = f"http://127.0.0.1:{port}"
            for _ in range(100):
                try:
                    httpx.get(f"{base}/metrics")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            answers, times, memory = asyncio.run(load(base, process.pid))
            process.terminate()
        times.sort()
        print(f"{CLIENTS} clients for {SECONDS:.0f} s: {dict(answers)}")
        print(f"p50 {times[len(times) // 2] * 1000:.0f} ms, p99 {times[int(len(times) * 0.99)] * 1000:.0f} ms")
        quarter = len(memory) // 4
        print(
            f"memory: {memory[0]:.1f} MB at first, {max(memory[quarter : 2 * quarter]):.1f} MB in the second quarter, "
            f"{max(memory[-quarter:]):.1f} MB in the last"
        )
        print(f"exit code {process.returncode}")


if __name__ == "__main__":
    main()

"""Every command of an operator, once: for the places where all of them must work, such as a cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """What is typed, what it reads, and how it ends where all is well; ``moving``: while slots move, if differently."""

    words: str
    given: str = ""
    code: int = 0
    moving: int | None = None


RUNS = (
    Run("ping --count 1"),
    Run("health"),
    Run("top --once"),
    Run("doctor", code=1),  # there is no limit of memory, and no clean-up has run
    Run("info"),
    Run("slowlog"),
    Run("slowlog --reset --yes"),
    Run("latency --samples 3"),
    Run("monitor --seconds 0.1"),
    Run("incident --out -"),
    Run("acl check --role reader"),
    Run("memory show"),
    Run("memory families"),
    Run("memory families --sample 1000"),
    Run("memory tune --advise"),
    Run("sessions list"),
    Run("sessions list --tier redis --limit 3"),
    Run("sessions list --tier database --output ids"),
    Run("sessions show living-0000"),
    Run("sessions trace living-0000"),
    Run("sessions why living-0000"),
    Run("sessions why --user user-1"),
    Run("sessions export"),
    Run("sessions index check"),
    Run("sessions index repair --yes --fix-ttl"),
    Run("sessions index adopt --yes"),
    Run("stats"),
    Run("stats --by status"),
    Run("users list"),
    Run("users show user-1"),
    Run("cache stats"),
    Run("cache delivery get 5 20", moving=1),  # the generation lies on another server: it is computed anew
    Run("cache delivery list"),
    Run("cache coupon get SAVE5", moving=1),
    Run("cache coupon list"),
    Run("setup --check", code=1),  # there is no .env.local
    Run("sync --dry-run"),
    Run("sync --conflicts"),
    Run("sync"),
    Run("migrate plan"),
    Run("migrate run --restart"),
    Run("migrate verify"),
    Run("bench --seconds 2 --shoppers 2 --yes"),
    Run("cleanup --expired --dry-run"),
    Run("cleanup --expired"),
    Run("cleanup --index --orphans --yes"),
    Run("sessions create --file - --id created-0001", given='{"userId": "user-9"}'),
    Run("sessions update living-0001 --set notes=x"),
    Run("sessions extend living-0002 --by 5m"),
    Run("sessions delete living-0003 --yes"),
    Run("cache delivery set 7 20 1.5 --yes"),
    Run("cache delivery invalidate --yes"),
    Run("cache coupon set SAVE20 - --yes", given='{"valid": true}'),
    Run("cache coupon invalidate SAVE6 --yes"),
)

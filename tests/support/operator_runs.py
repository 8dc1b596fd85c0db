"""Every command of an operator, once: for the places where all of them must work, such as a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from checkout_cli.commands.record import Use, records


@dataclass(frozen=True)
class Run:
    """What is typed, what it reads, and how it ends where all is well; ``moving``: while slots move, if differently."""

    words: str
    given: str = ""
    code: int = 0
    moving: int | None = None


ELSEWHERE = {"setup", "cron run", "serve"}
"""What changes the machine, starts processes, or serves until it is ended."""
CODES = {
    "doctor": (1,),  # there is no limit of memory, and no clean-up has run
    "setup --check": (1,),  # there is no .env.local
    "cache delivery get": (0, 1),  # the generation lies on another server: it is computed anew
    "cache coupon get": (0, 1),
}
"""How they end, where that is not well."""


def typed(name: str, use: Use) -> tuple[str, str]:
    """The words of a command, and the arguments of its run."""
    command, _, option = name.partition(" --")
    return command, use.run or (option and f"--{option}")


def of_role(role: str) -> Iterator[Run]:
    """What records say is run for a role, where that asks Redis, and needs no other server and no file."""
    for record in records():
        for name, use in record.by_name().items():
            words = " ".join(typed(name, use)).strip().replace("{living}", "living-0001")
            asks = use.needs or use.helps or use.does or use.tries
            if use.role == role and asks and name not in ELSEWHERE and "{" not in words:
                yield Run(words, use.given or "", *CODES.get(name, ()))


RUNS = (
    *of_role("reader"),
    Run("memory families --sample 1000"),
    Run("sessions list --tier redis --limit 3"),
    Run("sessions list --tier database --output ids"),
    Run("sessions why --user user-1"),
    Run("stats"),
    Run("sync --conflicts"),
    # sessions last: what was just written waits for Redis while its slot moves
    *sorted(of_role("operator"), key=lambda run: run.words.startswith("sessions")),
    Run("sessions delete living-0003 --yes"),
    Run("sessions index adopt --yes"),
    Run("cleanup --index --orphans --yes"),
    Run("cache coupon invalidate --yes"),
)

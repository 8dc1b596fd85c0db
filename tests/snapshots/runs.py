"""What is on record: which commands, on which states, and in which ways they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from checkout_cli.keys import INDEX_ASIDE, INDEX_BESIDE
from checkout_cli.store.checkout_store import CheckoutStore
from tests.snapshots.frozen import GONE, Place
from tests.snapshots.support import commands, readable, shape_of, shapes_of
from tests.support.divergence import write_externally
from tests.support.role_runs import BROKEN, DEAD, LIVING, RUNS, THEIRS, Run, Scene
from tests.support.stores import LONG_AGO, put_raw

NO_ROLES = (Run("monitor", "--seconds 0.2"),)
"""What no role may run, and an administrator does."""
MORE = (
    Run("health", "--nagios"),
    Run("health", "--nagios", state=Scene.all_waiting),
    Run("sessions show", "nobody-001"),
    Run("sessions show", f"{LIVING} --reveal"),
    Run("sessions show", BROKEN, state=Scene.written_externally),
    Run("sessions list", "--status pending --reveal", state=Scene.all_waiting),
    Run("sessions delete", LIVING),
    Run("sessions update", f"{LIVING} --set paymentStatus=paid"),
    Run("sessions create", "--file -", input="{"),
    Run("incident diff", "incident.json later.json"),
    Run("memory tune", "--maxmemory 64mb --dry-run"),
    Run("memory tune", "--maxmemory 64mb --policy noeviction --yes"),
    Run("completion show", "zsh"),
    Run("completion show", "fish"),
    Run("config show", "--no-such-option"),
)
"""Beside what runs of every command are listed elsewhere: refusals, revealed data and other programs' formats."""
SELDOM = {"bench", "cron run"}
"""What takes long, and is another text at each run: asked once, and only the words of it are on record."""
LIVE = {"monitor"}
"""What draws its screen as often as the machine lets it: not on a terminal."""
NOT_RUN = {"demo"}
"""What has servers and sessions of its own and takes half a minute; its own tests look at what it says."""


def everything(scene: Scene) -> None:
    """A bit of everything at once: dirty, pending, in conflict, external, unreadable, orphaned, unlisted, leftover."""
    scene.apart()
    with CheckoutStore.open(scene.settings) as store, scene.server.client() as client:
        write_externally(store, "unlisted-1", paymentStatus="paid")
        store.create({}, checkout_id=BROKEN)
        put_raw(store, BROKEN, b"{")
        put_raw(store, THEIRS, b"{}")
        client.sadd(INDEX_ASIDE, LIVING, DEAD, "another-01")
        client.zadd(INDEX_BESIDE, {"left-00001": LONG_AGO})


@dataclass(frozen=True)
class Case:
    """A run, its name, and the environment that it has beside the usual one."""

    name: str
    run: Run
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def ways(self) -> list[tuple[str, str, int | None]]:
        """How it is asked: a title, more arguments, and the columns of a terminal."""
        if self.run.command in SELDOM:
            return [("a pipe", "", None)]
        live = self.run.command in LIVE
        shapes = (
            [] if {"--output", "--json", "--nagios"} & set(self.run.words) else shapes_of(commands()[self.run.command])
        )
        terminals = [(f"a terminal of {columns} columns", "", columns) for columns in (80, 120) if not live]
        return [*terminals, ("a pipe", "", None), *((shape, shape, None) for shape in shapes)]

    def answer(self, place: Place) -> str:
        """What the command says in all of these ways, as one text."""
        parts = [f"$ checkoutctl {' '.join(self.run.words)}\n"]
        for title, arguments, columns in self.ways:
            more = {"NO_COLOR": "1"} if columns == 80 else {}
            run = replace(self.run, arguments=f"{self.run.arguments} {arguments}")
            done = place.run(run, more={**self.environment, **more}, columns=columns)
            said = [readable(text) for text in (done.out, done.err)]
            if self.run.command in SELDOM:
                said = [shape_of(text) for text in said]
            parts.append(f"════ {title}: exit code {done.code}\n{said[0]}──── stderr\n{said[1]}")
        return "\n".join(parts)


def _named(state: str, run: Run) -> str:
    return " ".join(f"{run.command} {run.arguments} on {state}".replace("/", "_").split())


def _cases(runs: tuple[Run, ...]) -> list[Case]:
    return [Case(_named(run.state.__name__, run), run) for run in dict.fromkeys(runs)]


FIRST = tuple({run.command: run for run in reversed((*RUNS, *NO_ROLES)) if run.command not in SELDOM}.values())[::-1]
"""Each command once, as it is typed first in the list."""
ON_STATES = _cases((*RUNS, *NO_ROLES, *MORE))
"""Every command on the states in which it says something else."""
WITHOUT_REDIS = [Case(_named("no Redis", run), replace(run, state=Scene.fill), GONE) for run in FIRST]
WITH_NOTHING = [Case(_named("nothing", run), replace(run, state=Scene.empty)) for run in FIRST]
WITH_EVERYTHING = [Case(_named("everything", run), replace(run, state=everything)) for run in FIRST]

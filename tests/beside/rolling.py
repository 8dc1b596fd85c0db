"""Rolling: checkouts each of whose steps goes to one side or the other by chance, one after the other.

So nothing here is concurrent: whatever is wrong in the end is so by design.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.beside.checkouts import Checkout, Step, checkouts
from tests.beside.conflict_log import recorded
from tests.beside.parties import Operator, Party, Refused, older_program, our_program, process_environment
from tests.beside.places import Place
from tests.older_program import FIELDS

OURS_TO_KEEP = frozenset(FIELDS)
"""What we may show of a session: nobody writes any other field here, and our header is none."""
DURABILITIES = ("database", "redis")
HEADER_KEPT, HEADER_DROPPED = 0.0, 1.0
"""Shares of the older program's writes that keep its own fields alone."""
FEW = 5
"""Verdicts that a failing test shows."""


@dataclass(frozen=True)
class How:
    """How a run goes. Shares are of all such steps, from 0 to 1."""

    number: int = 12
    seed: int = 1
    fresh: float = HEADER_KEPT
    """The share of the older program's writes that keep its own fields alone, and drop our header."""
    deletes: bool = False
    """Whether the older program deletes a session after its order."""
    restarts: int = 0
    """How often Redis is saved and put back at once, with nothing lost."""
    old_snapshot: bool = False
    """Whether Redis comes back once from a snapshot of a while ago, and nobody waits until that is noticed."""
    outage: bool = False
    """Whether our database is unreachable in the middle third."""
    typed: float = 0.0
    """The share of our steps that a person types as commands."""


@dataclass
class Write:
    """One acknowledged write, or a look of ours, which changes nothing; ``place`` is the step's in the whole run.

    ``excused``: Redis may have lost it before anybody of ours had seen it.
    """

    place: int
    ours: bool
    changes: Mapping[str, Any]
    durability: str = ""
    excused: bool = False


@dataclass
class Rolled:
    """The figures, in checkouts where nothing else is said."""

    checkouts: int = 0
    wrong_as_we_read: int = 0
    wrong_as_it_reads: int = 0
    """Before we have looked at them."""
    wrong_as_it_reads_afterwards: int = 0
    not_paid: int = 0
    without_order: int = 0
    deleted_there: int = 0
    """Deleted by the older program after the order, and judged by the next figure alone."""
    payable_again: int = 0
    """Of these: read by us, and not as paid."""
    refused: int = 0
    """Writes that a party refused."""
    refused_additions: int = 0
    """Ids that the index refused."""
    silent: int = 0
    """Writes that are neither in the final state nor on record."""
    conflicts: int = 0
    """Writes on record."""
    unlisted: int = 0
    """Missing in our list."""
    unlisted_there: int = 0
    """Missing in the older program's list; all of them where that fails."""
    unpublished: int = 0
    """Writes of ours that were acknowledged as not published."""
    verdicts: list[str] = field(default_factory=list)

    def told(self) -> str:
        """What is not zero, and some of the evidence, for who has to find out what happened."""
        figures = {name: value for name, value in vars(self).items() if name != "verdicts" and value}
        return "\n".join([str(figures), *self.verdicts[:FEW]])

    def assert_right(self) -> None:
        """Both sides read what was written, nobody was refused, and no person has to decide anything."""
        self._assert_zero(
            *("wrong_as_we_read", "wrong_as_it_reads", "wrong_as_it_reads_afterwards", "not_paid", "without_order"),
            *("refused", "refused_additions", "silent", "conflicts", "unlisted", "unlisted_there"),
        )

    def assert_nothing_silent(self) -> None:
        """What is not there is on record, and the older program finds its index and its list as ever."""
        self._assert_zero("silent", "refused_additions", "unlisted", "unlisted_there")

    def _assert_zero(self, *names: str) -> None:
        assert {name: count for name in names if (count := getattr(self, name))} == {}, self.told()


def roll(
    place: Place,
    how: How,
    directory: Path,
    *,
    older: Callable[..., Party] = older_program,
    ours: Callable[..., Party] = our_program,
) -> Rolled:
    """One run at a place, and its figures; ``older`` and ``ours`` start the processes of the two sides."""
    with ExitStack() as stack:
        environment = place.settings
        it = stack.enter_context(older(environment, directory))
        we = [stack.enter_context(ours(environment, directory, f"we-{number}")) for number in range(2)]
        it("create", checkout_id="here-before-us", fields={"userId": "user-0"})  # its index is there before ours
        operator = Operator(process_environment(directory, environment), directory)
        return _Run(place, how, it, we, operator).run()


class _Run:
    """One run: the parties, and what each was told to do."""

    def __init__(self, place: Place, how: How, it: Party, we: Sequence[Party], operator: Operator) -> None:
        self._place, self._how = place, how
        self._it, self._we, self._operator = it, we, operator
        self._chance = random.Random(how.seed)
        self._writes: dict[str, list[Write]] = {}
        self._deleted_there: set[str] = set()
        self._database_answers = True
        self._saved_at = 0
        self.found = Rolled(checkouts=how.number)

    def run(self) -> Rolled:
        made = checkouts(self._how.number, self._chance)
        self._writes = {checkout.checkout_id: [] for checkout in made}
        queue = [checkout for checkout in made for _ in checkout.steps]
        self._chance.shuffle(queue)
        events = self._events(len(queue))
        steps = {checkout.checkout_id: iter(checkout.steps) for checkout in made}
        self._settle()
        for number, checkout in enumerate(queue):
            if number in events:
                events[number](number)
            self._take(number, checkout.checkout_id, next(steps[checkout.checkout_id]))
        self._settle()
        self._reckon(made)
        return self.found

    # What happens meanwhile

    def _events(self, length: int) -> dict[int, Callable[[int], None]]:
        third = length // 3
        if self._how.outage:
            return {third: self._lose_database, 2 * third: self._restore_database}
        if self._how.old_snapshot:
            return {third: self._save, 2 * third: self._go_back}
        part = length // (self._how.restarts + 1)
        return {part * (number + 1): self._restart for number in range(self._how.restarts)}

    def _lose_database(self, _: int) -> None:
        assert self._place.lose_database is not None
        self._place.lose_database()
        self._database_answers = False

    def _restore_database(self, _: int) -> None:
        self._place.restore_database()
        self._database_answers = True
        self._operator.sync()

    def _save(self, number: int) -> None:
        self._place.save()
        self._saved_at = number

    def _restart(self, _: int) -> None:
        self._place.save()
        self._place.restart()
        self._settle()

    def _go_back(self, _: int) -> None:
        """Redis comes back as it was: what nobody of ours has seen of the writes since then is lost with it."""
        self._place.restart()
        for writes in self._writes.values():
            for position, write in enumerate(writes):
                taken_in = any(later.ours and later.durability == "database" for later in writes[position + 1 :])
                if write.place >= self._saved_at and write.durability != "database" and not taken_in:
                    write.excused = True

    def _settle(self) -> None:
        for party in self._we:
            assert party("settle"), f"{party.name} does not find both servers again"

    # The steps

    def _take(self, place: int, checkout_id: str, step: Step) -> None:
        """One step, by a party that chance chooses."""
        ours = self._chance.random() < 0.5
        party = self._chance.choice(self._we) if ours else self._it
        typed = ours and self._chance.random() < self._how.typed
        try:
            answer = self._asked(self._operator if typed else party, ours, checkout_id, step)
        except Refused as refusal:
            self._refused(checkout_id, step, str(refusal))
            return
        if step.do == "get":
            if ours and any(write.durability == "database" for write in self._writes[checkout_id]):
                self._writes[checkout_id].append(Write(place, ours, {}, "database"))
            return
        if answer is None:
            self._refused(checkout_id, step, f"{party.name}: no such session")
            return
        durability = str(answer.get("durability", "database" if self._database_answers else "redis")) if ours else ""
        self._writes[checkout_id].append(Write(place, ours, step.changes, durability))
        if ours and not answer.get("published", True):
            self.found.unpublished += 1
        if step.do == "pay" and not ours and self._how.deletes:
            self._deleted_there.add(checkout_id)

    def _asked(self, party: Party | Operator, ours: bool, checkout_id: str, step: Step) -> Any:
        path = {} if ours or step.do in {"get", "create"} else {"fresh": self._chance.random() < self._how.fresh}
        if step.do == "get":
            return party("get", checkout_id=checkout_id)
        if step.do == "create":
            return party("create", checkout_id=checkout_id, fields=step.changes)
        if step.do == "update":
            return party("update", checkout_id=checkout_id, changes=step.changes, **path)
        if not ours:
            path["delete"] = self._how.deletes
        return party("pay", checkout_id=checkout_id, order_id=step.changes["databaseOrderId"], **path)

    def _refused(self, checkout_id: str, step: Step, why: str) -> None:
        if step.do != "get":
            self.found.refused += 1
        self._say(checkout_id, f"{step.do} refused: {why}")

    # The reckoning

    def _reckon(self, made: Sequence[Checkout]) -> None:
        """Compare what each side reads with what it was told, and what is lost with what is on record."""
        names = [checkout.checkout_id for checkout in made]
        there = {name: self._it("get", checkout_id=name) for name in names}
        here = {name: self._we[0]("get", checkout_id=name) for name in names}
        there_afterwards = {name: self._it("get", checkout_id=name) for name in names}
        self._look_at_lists(names)
        self.found.refused_additions = self._it("counts").get("additions", 0)
        self._operator.sync()
        on_record = recorded(self._place.settings)
        self.found.conflicts = sum(map(len, on_record.values()))
        for name in names:
            self._judge(name, here[name], there[name], there_afterwards[name], on_record.get(name, []))

    def _look_at_lists(self, names: Sequence[str]) -> None:
        self.found.unlisted = len(set(names).difference(self._operator.listed()))
        try:
            listed = {session["checkoutId"] for session in self._it("all")}
        except Refused as refusal:
            self._say("all", str(refusal))
            listed = set()
        self.found.unlisted_there = len(set(names) - listed)

    def _judge(
        self,
        name: str,
        here: dict[str, Any] | None,
        there: dict[str, Any] | None,
        there_afterwards: dict[str, Any] | None,
        on_record: Sequence[Mapping[str, Any]],
    ) -> None:
        writes, found = self._writes[name], self.found
        fields = here or {}
        if name in self._deleted_there:
            found.deleted_there += 1
            found.payable_again += here is not None and fields.get("paymentStatus") != "paid"
            return
        expected: dict[str, Any] = {"checkoutId": name}
        for write in writes:
            expected |= write.changes
        if wrong := _differences(expected, here) + sorted(set(fields) - OURS_TO_KEEP):
            found.wrong_as_we_read += 1
            self._say(name, f"we read wrong: {wrong}")
        if wrong := _differences(expected, there):
            found.wrong_as_it_reads += 1
            self._say(name, f"it reads wrong: {wrong}")
        found.wrong_as_it_reads_afterwards += bool(_differences(expected, there_afterwards))
        found.not_paid += fields.get("paymentStatus") != "paid"
        found.without_order += not fields.get("databaseOrderId")
        for position, write in enumerate(writes):
            lost = [] if write.excused else _unaccounted(writes[position:], [fields, *on_record])
            if lost:
                found.silent += 1
                who = "ours" if write.ours else "its"
                self._say(name, f"{who} ({write.durability or 'a SETEX'}) is silently lost: {lost}")

    def _say(self, name: str, verdict: str) -> None:
        self.found.verdicts.append(f"{name[:8]}: {verdict}")


def _differences(expected: Mapping[str, Any], fields: Mapping[str, Any] | None) -> list[str]:
    """The fields that are not as they should be."""
    if fields is None:
        return ["no such session"]
    return [name for name, value in expected.items() if fields.get(name) != value]


def _unaccounted(since: Sequence[Write], contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields of the first of these writes that stand nowhere: neither with its value nor with a later one."""
    return [
        name
        for name in since[0].changes
        if not any(
            name in content and content[name] == later.changes[name]
            for content in contents
            for later in since
            if name in later.changes
        )
    ]

"""Change Redis' memory limit and eviction policy: shown, agreed to, read back, persisted and undone.

Nothing is evicted on the way: several settings go in one CONFIG SET, which Redis applies as a whole (from 7.0 on). An
older server gets them one by one, a higher limit first and a lower one last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from checkout_cli.commands.memory.limits import MAXMEMORY, Evicts, Limits
from checkout_cli.commands.memory.outlook import Outlook, State, limits_now, outlook, state_of
from checkout_cli.commands.memory.persist import Persisted, Rewriting, persist, rewriting
from checkout_cli.errors import (
    CheckoutError,
    CommandDenied,
    CommandUnknown,
    ExitCode,
    InvalidInput,
    RedisRefusing,
    RedisUnavailable,
)
from checkout_cli.files.state_file import StateFile
from checkout_cli.servers.machine import Machine
from checkout_cli.servers.per_server import Partial, of_each_server
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.server import RedisServer

_TOO_MANY = "wrong number of arguments"
"""What a server before 7.0 says to several settings at once."""
LOOK = "checkoutctl memory tune"


class TuneRefused(CheckoutError):
    """This needs ``--force``; nothing was changed."""

    default_hint = "the same command with --force"


class NothingToUndo(CheckoutError):
    """No change of ours is on record for this server."""

    exit_code = ExitCode.NOT_FOUND
    default_hint = LOOK


class TuneFailed(CheckoutError):
    """Some servers of a cluster were changed and others not; the message says which."""

    def __init__(self, message: str, cause: CheckoutError) -> None:
        super().__init__(message, hint=f"{LOOK} --undo")
        self.exit_code = cause.exit_code


class Change(msgspec.Struct, frozen=True):
    """A change at ``changed_at`` (ms since the epoch); ``run`` is the server's ``run_id`` then, empty if unknown.

    ``before`` and ``after`` are the changed settings, and no others.
    """

    changed_at: int
    run: str
    before: dict[str, str]
    after: dict[str, str]


class UndoFile(StateFile[Change]):
    """The last change of each server, by its place."""

    def __init__(self, directory: Path | None = None) -> None:
        super().__init__("tune-undo.json", Change, lambda change: change.changed_at, directory)

    def put(self, name: str, entry: Change | None) -> None:
        """Store a change, or, with ``None``, that there is nothing to undo."""
        try:
            super().put(name, entry)
        except OSError as error:
            raise CheckoutError(
                f"the record for --undo cannot be written: {self.reason(error)}",
                hint="set XDG_STATE_HOME to a directory that you can write to",
            ) from error


@dataclass(frozen=True)
class Meaning:
    """Limits, and their effect on the data."""

    JSON_KEYS = "*limits *outlook"

    limits: Limits
    outlook: Outlook


@dataclass(frozen=True)
class Step:
    """One server, the proposed limits, and those read back after the change."""

    JSON_KEYS = (
        "place usedBytes=state.used countedBytes=state.counted today configFile=state.config_file "
        "replicaOf=state.primary configUnavailable=state.no_config_in_words provider=state.provider"
    )
    ASKED = f"{JSON_KEYS} proposed=then now persisted"

    state: State
    proposed: Limits
    now: Limits | None = None
    persisted: Persisted | None = None
    way: Rewriting = field(default_factory=Rewriting)

    @property
    def place(self) -> str:
        return self.state.place

    def today(self) -> Meaning:
        """The present limits."""
        return Meaning(self.state.limits, outlook(self.state, self.state.limits))

    def then(self) -> Meaning:
        """The proposed limits."""
        return Meaning(self.proposed, outlook(self.state, self.proposed))

    @property
    def changes(self) -> Limits:
        return Limits.of(dict(self.proposed.settings().items() - self.state.limits.settings().items()))


@dataclass(frozen=True)
class Tuning(Partial):
    """All servers. ``asked`` is whether anything was to be changed or persisted at all.

    ``missing`` are servers of a cluster that did not answer; nothing is changed while there are any.
    """

    steps: tuple[Step, ...]
    asked: bool
    persist: bool = False
    agreed: bool = False
    undone: bool = False
    missing: tuple[str, ...] = ()

    @property
    def anything_to_do(self) -> bool:
        return self.persist or any(not step.changes.is_empty for step in self.steps)

    @property
    def exit_code(self) -> ExitCode:
        """A finding where a change could not be persisted."""
        return ExitCode.OK if self.all_persisted else ExitCode.FINDING

    @property
    def all_persisted(self) -> bool:
        kept = [step.persisted for step in self.steps if step.persisted is not None]
        return all(each.done and not each.doubt for each in kept)


Agreed = Callable[[Tuning], bool]


def look(store: CheckoutStore) -> Tuning:
    """The settings of all servers; raises as :func:`of_each_server` does."""
    found = of_each_server(store.redis, lambda server: state_of(server.server))
    return Tuning(tuple(Step(state, state.limits) for state in found.servers), asked=False, missing=found.missing)


def tune(
    store: CheckoutStore,
    wanted: Limits,
    *,
    agreed: Agreed,
    persist: bool = False,
    force: bool = False,
    undo: UndoFile | None = None,
) -> Tuning:
    """Change the settings that ``wanted`` names on every server, once ``agreed``, and read them back.

    Raises:
        TuneRefused: the data does not fit under the limit, or may not, and ``force`` is not given.
        CommandDenied: this user may not change settings.
        CommandUnknown: there is no CONFIG here, as in managed services.
        TuneFailed: a cluster was changed in part.
        RedisUnavailable: a server does not answer.
    """
    steps = tuple(Step(state, state.limits.with_(wanted)) for state in _all_states(store))
    return _carry_out(store, Tuning(steps, asked=True, persist=persist), agreed, force, undo or UndoFile())


def undo_last(
    store: CheckoutStore,
    *,
    agreed: Agreed,
    persist: bool = False,
    force: bool = False,
    undo: UndoFile | None = None,
) -> Tuning:
    """Return every server to its settings before our last change there, once ``agreed``.

    Raises:
        NothingToUndo: no change is on record.
        TuneRefused: a server has other settings than ours, or its data no longer fits, and ``force`` is not given.
        CheckoutError: as :func:`tune`.
    """
    record = undo or UndoFile()
    steps = []
    for state in _all_states(store):
        change = record.last(state.place)
        if change is None:
            continue
        before, after = Limits.of(change.before), Limits.of(change.after)
        # The settings before the change are fine too: something else has undone it, as a restart does.
        if not (force or state.limits.agrees_with(after) or state.limits.agrees_with(before)):
            restarted = ", and it has been restarted since" if state.run != change.run else ""
            raise TuneRefused(
                f"{state.place} is no longer as we left it{restarted}: we set {_in_words(after)}, and it has "
                f"{_in_words(state.limits.only(after))}; undoing would set {_in_words(before)}",
                hint=f"{LOOK} --undo --force",
            )
        steps.append(Step(state, state.limits.with_(before)))
    if not steps:
        raise NothingToUndo(f"no change of memory settings is on record for {store.settings.redis_place}")
    tuning = Tuning(tuple(steps), asked=True, persist=persist, undone=True)
    return _carry_out(store, tuning, agreed, force, record)


def _in_words(limits: Limits) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.settings().items())


def _all_states(store: CheckoutStore) -> list[State]:
    """All servers, each of which we may configure: checked before anything is changed on any of them."""
    tuning = look(store)
    if tuning.missing:
        raise RedisUnavailable(f"no answer from {', '.join(tuning.missing)}: nothing was changed on any server")
    states = [step.state for step in tuning.steps]
    for state in states:
        if state.no_config is not None:
            raise _explained(state.no_config, state)
    return states


def _explained(refusal: CheckoutError, state: State) -> CheckoutError:
    """A refusal of CONFIG, with the place where the settings can be changed instead."""
    provider = state.provider
    if isinstance(refusal, CommandDenied):
        grant = " ".join(dict.fromkeys([refusal.grant or "+config|get", "+config|set"]))
        return CommandDenied(
            f"{state.place}: this user may not change settings (needs {grant}); nothing was changed",
            grant=grant,
            hint=state.elsewhere if provider else f"as an administrator: ACL SETUSER … {grant}",
        )
    if not isinstance(refusal, CommandUnknown):
        return RedisRefusing(f"{refusal}; nothing was changed", hint=state.elsewhere)
    where = f"; this is {provider.name}" if provider else ": renamed away, or removed by its provider"
    return CommandUnknown(
        f"{state.place} has no CONFIG{where}; nothing was changed", command="CONFIG", hint=state.elsewhere
    )


# Changing


def _carry_out(store: CheckoutStore, tuning: Tuning, agreed: Agreed, force: bool, undo: UndoFile) -> Tuning:
    if not force:
        for step in tuning.steps:
            _check_that_it_fits(step)
    if tuning.persist:
        machine = Machine()
        tuning = replace(
            tuning, steps=tuple(replace(step, way=rewriting(step.state, machine)) for step in tuning.steps)
        )
    if not (tuning.anything_to_do and agreed(tuning)):
        return tuning
    done: list[Step] = []
    for step in tuning.steps:
        try:
            done.append(_changed(step, tuning, undo, store.clock.wall()))
        except CheckoutError as error:
            if not done:
                raise
            places = [step.state.place for step in tuning.steps]
            changed, others = ", ".join(places[: len(done)]), ", ".join(places[len(done) :])
            raise TuneFailed(f"changed: {changed}; not changed: {others}: {error}", error) from error
    return replace(tuning, steps=tuple(done), agreed=True)


def _check_that_it_fits(step: Step) -> None:
    limit, policy = step.changes.maxmemory, step.changes.policy
    if not step.proposed.maxmemory or (limit is None and policy is None):
        return
    state, ahead = step.state, step.then().outlook
    if ahead.excess is None:
        raise TuneRefused(f"{state.place} does not tell how much memory is in use, so the data may not fit")
    today = step.today().outlook
    if not ahead.excess or (limit is None and today.excess and ahead.evicts is today.evicts):
        return
    loss = "Redis would refuse every write"
    if ahead.evicts is not Evicts.NOTHING:
        sessions = "" if ahead.sessions is None else f", about {ahead.sessions:,} sessions among it"
        loss = f"Redis would evict the rest at once{sessions}"
    raise TuneRefused(
        f"{state.place} uses {state.counted:,} bytes, {ahead.excess:,} more than {step.proposed.maxmemory:,}: {loss}"
    )


def _changed(step: Step, tuning: Tuning, undo: UndoFile, now: int) -> Step:
    state, changes = step.state, step.changes
    after, earlier = state.limits, undo.last(state.place)
    if not changes.is_empty:
        change = Change(now, state.run, state.limits.only(changes).settings(), changes.settings())
        undo.put(state.place, change)  # before the change: nothing is changed that cannot be undone
        try:
            set_limits(state.server, state.limits, changes)
        except (CommandDenied, RedisRefusing) as refusal:
            if not state.limits.with_(limits_now(state.server)).agrees_with(state.limits):
                raise
            undo.put(state.place, earlier)  # nothing has changed, so the earlier change can still be undone
            raise _explained(refusal, state) from refusal
        except RedisUnavailable as error:
            raise RedisUnavailable(f"{error}; whether it was changed is not known", hint=LOOK) from error
        after = limits_now(state.server)
        if not after.agrees_with(changes):
            raise CheckoutError(
                f"{state.place} accepted {_in_words(changes)} and now says {_in_words(after.only(changes))}",
                hint=f"{LOOK}; another program, or the provider, sets it too",
            )
    if tuning.undone:
        undo.put(state.place, None)
    kept = None
    if tuning.persist:
        is_our_change = earlier is not None and state.limits.agrees_with(Limits.of(earlier.after))
        kept = persist(state, after, step.way, is_our_change=is_our_change)
    return Step(state, step.proposed, after, kept, step.way)


def set_limits(server: RedisServer, today: Limits, changes: Limits) -> None:
    """Set several settings at once, or, before 7.0, one by one in an order that evicts nothing on the way."""
    settings = changes.settings()
    limit = settings.pop(MAXMEMORY, None)
    if limit is not None:
        rises = int(limit) == 0 or 0 < (today.maxmemory or 0) < int(limit)
        settings = {MAXMEMORY: limit, **settings} if rises else {**settings, MAXMEMORY: limit}
    try:
        server.configure(settings)
    except RedisRefusing as refusal:
        if len(settings) == 1 or _TOO_MANY not in str(refusal).lower():
            raise
        for name, value in settings.items():
            server.configure({name: value})


# What was asked for


def checked(wanted: Limits, *, advise: bool, undo: bool, persist: bool) -> None:
    """Raise :class:`InvalidInput` where options contradict each other."""
    if advise and (undo or persist):
        raise InvalidInput("--advise changes nothing", hint=f"{LOOK} --advise")
    if (advise or undo) and not wanted.is_empty:
        option = "--advise" if advise else "--undo"
        raise InvalidInput(f"{option} says itself what to set", hint=f"{LOOK} {option}")


def run(store: CheckoutStore, wanted: Limits, *, agreed: Agreed, persist: bool, force: bool, undo: bool) -> Tuning:
    """Undo, change, persist the present settings, or only look; raises as each of them does."""
    if undo:
        return undo_last(store, agreed=agreed, persist=persist, force=force)
    if persist or not wanted.is_empty:
        return tune(store, wanted, agreed=agreed, persist=persist, force=force)
    return look(store)

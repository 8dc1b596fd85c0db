"""Change Redis' memory limit and eviction policy: seen beforehand, agreed to, read back, and taken back.

Nothing is evicted on the way: several settings go in one CONFIG SET, which Redis applies as a whole (from 7.0 on). An
older server gets them one by one, a higher limit first and a lower one last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkout_cli.commands.memory.limits import MAXMEMORY, Limits
from checkout_cli.commands.memory.outlook import Looked, Outlook, limits_now, look_at, outlook
from checkout_cli.commands.memory.persist import SOME_FILE, Persisted, persist_at
from checkout_cli.commands.memory.tune_undo import Change, UndoFile
from checkout_cli.errors import (
    CheckoutError,
    CommandDenied,
    CommandUnknown,
    ExitCode,
    InvalidInput,
    RedisRefusing,
    RedisUnavailable,
)
from checkout_cli.servers.per_server import Partial
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.server import RedisServer

_TOO_MANY = "wrong number of arguments"
"""What a server before 7.0 says to several settings at once."""
LOOK = "checkoutctl memory tune"


class TuneRefused(CheckoutError):
    """We do not do this unless we are forced to; nothing was changed."""

    default_hint = "the same command with --force"


class NothingToUndo(CheckoutError):
    """No change of ours is on record for this server."""

    exit_code = ExitCode.NOT_FOUND
    default_hint = LOOK


class TuneFailed(CheckoutError):
    """It was changed on some servers and not on others; the message says on which."""

    def __init__(self, message: str, cause: CheckoutError) -> None:
        super().__init__(message, hint=f"{LOOK} --undo")
        self.exit_code = cause.exit_code


@dataclass(frozen=True)
class Meaning:
    """Limits, and what they mean for the data."""

    JSON_KEYS = "*limits *outlook"

    limits: Limits
    outlook: Outlook


@dataclass(frozen=True)
class Step:
    """One server: as it is, what is proposed, and, once it is done, what it says when asked again."""

    JSON_KEYS = (
        "place=looked.place usedBytes=looked.used countedBytes=looked.counted today configFile=looked.config_file "
        "replicaOf=looked.primary configUnavailable=looked.no_config_in_words provider=looked.provider"
    )
    ASKED = f"{JSON_KEYS} proposed=then now persisted"

    looked: Looked
    proposed: Limits
    now: Limits | None = None
    persisted: Persisted | None = None

    def today(self) -> Meaning:
        """What is set, and what that means."""
        return Meaning(self.looked.limits, outlook(self.looked, self.looked.limits))

    def then(self) -> Meaning:
        """What would be set, and what that would mean."""
        return Meaning(self.proposed, outlook(self.looked, self.proposed))

    @property
    def changes(self) -> Limits:
        """Those of the proposed settings that are otherwise today."""
        return Limits.of(
            {
                name: value
                for name, value in self.proposed.settings().items()
                if self.looked.limits.settings().get(name) != value
            }
        )


@dataclass(frozen=True)
class Tuning(Partial):
    """What was seen, and what came of it. ``asked`` is whether anything was to be changed or persisted at all.

    ``missing`` are the servers of a cluster that did not answer; nothing is changed while there are any.
    """

    steps: tuple[Step, ...]
    asked: bool
    persist: bool = False
    agreed: bool = False
    undone: bool = False
    missing: tuple[str, ...] = ()

    @property
    def anything_to_do(self) -> bool:
        """Whether any server is otherwise than proposed, or is to persist what it has."""
        return self.persist or any(not step.changes.is_empty for step in self.steps)

    @property
    def exit_code(self) -> ExitCode:
        """A finding where something was changed and could not be persisted."""
        return ExitCode.OK if self.all_persisted else ExitCode.FINDING

    @property
    def all_persisted(self) -> bool:
        """Whether what was to be persisted has been."""
        return all(step.persisted is None or step.persisted.done for step in self.steps)


Agreed = Callable[[Tuning], bool]


def look(store: CheckoutStore) -> Tuning:
    """The settings of all servers today.

    Raises:
        CommandDenied: a server tells nothing at all, since INFO and CONFIG are denied.
        CommandUnknown: the same, renamed away.
        RedisUnavailable: none answers.
    """
    looks, missing = _looks(store)
    return Tuning(tuple(Step(looked, looked.limits) for looked in looks), asked=False, missing=tuple(missing))


def tune(
    store: CheckoutStore,
    wanted: Limits,
    *,
    agreed: Agreed,
    persist: bool = False,
    force: bool = False,
    undo: UndoFile | None = None,
) -> Tuning:
    """Change what ``wanted`` names on every server, once ``agreed``, and read it back.

    Raises:
        TuneRefused: the data does not fit under the limit, or nobody can tell, and ``force`` is not given.
        CommandDenied: this user may not change settings.
        CommandUnknown: there is no CONFIG here, as in managed services.
        TuneFailed: a cluster was changed in part.
        RedisUnavailable: a server does not answer.
    """
    looks = _all_looks(store)
    steps = tuple(Step(looked, looked.limits.with_(wanted)) for looked in looks)
    return _carry_out(store, Tuning(steps, asked=True, persist=persist), agreed, force, undo or UndoFile())


def undo_last(
    store: CheckoutStore,
    *,
    agreed: Agreed,
    persist: bool = False,
    force: bool = False,
    undo: UndoFile | None = None,
) -> Tuning:
    """Return every server to what it was before our last change there, once ``agreed``.

    Raises:
        NothingToUndo: nothing is on record.
        TuneRefused: a server is no longer as we left it, or its data no longer fits, and ``force`` is not given.
    """
    record = undo or UndoFile()
    changes = [(looked, record.last(looked.place)) for looked in _all_looks(store)]
    steps = []
    for looked, change in changes:
        if change is None:
            continue
        known = (change.limits_after, change.limits_before)  # or it is undone already, as by a restart
        if not (force or any(looked.limits.agrees_with(limits) for limits in known)):
            raise _no_longer_ours(looked, change)
        steps.append(Step(looked, looked.limits.with_(change.limits_before)))
    if not steps:
        raise NothingToUndo(f"no change of memory settings is on record for {store.settings.redis_place}")
    tuning = Tuning(tuple(steps), asked=True, persist=persist, undone=True)
    return _carry_out(store, tuning, agreed, force, record)


def _no_longer_ours(looked: Looked, change: Change) -> TuneRefused:
    restarted = ", and it has been restarted since" if looked.run != change.run else ""
    return TuneRefused(
        f"{looked.place} is no longer as we left it{restarted}: we set {_in_words(change.limits_after)}, and it has "
        f"{_in_words(looked.limits.only(change.limits_after))}; undoing would set {_in_words(change.limits_before)}",
        hint=f"{LOOK} --undo --force",
    )


def _in_words(limits: Limits) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.settings().items())


# Looking


def _looks(store: CheckoutStore) -> tuple[list[Looked], list[str]]:
    looks: list[Looked] = []
    missing: list[str] = []
    for server in store.redis.servers():
        try:
            looks.append(look_at(server))
        except RedisRefusing:
            raise
        except RedisUnavailable:
            if not store.redis.is_cluster:
                raise
            missing.append(server.place)
    if not looks:
        raise RedisUnavailable(f"no primary of the cluster at {store.settings.redis_place} answers")
    return looks, missing


def _all_looks(store: CheckoutStore) -> list[Looked]:
    """All servers, each one that we may configure, before anything is changed on any of them."""
    looks, missing = _looks(store)
    if missing:
        raise RedisUnavailable(f"no answer from {', '.join(missing)}: nothing was changed on any server")
    for looked in looks:
        if looked.no_config is not None:
            raise _explained(looked.no_config, looked)
    return looks


def _explained(refusal: CheckoutError, looked: Looked) -> CheckoutError:
    """A refusal of CONFIG, and where the setting lives instead."""
    provider = looked.provider
    if isinstance(refusal, CommandDenied):
        grant = " ".join(dict.fromkeys([refusal.grant or "+config|get", "+config|set"]))
        return CommandDenied(
            f"{looked.place}: this user may not change settings (needs {grant}); nothing was changed",
            grant=grant,
            hint=elsewhere(looked) if provider else f"as an administrator: ACL SETUSER … {grant}",
        )
    if not isinstance(refusal, CommandUnknown):
        return RedisRefusing(f"{refusal}; nothing was changed", hint=elsewhere(looked))
    where = f"; this is {provider.name}" if provider else ": renamed away, or removed by its provider"
    return CommandUnknown(
        f"{looked.place} has no CONFIG{where}; nothing was changed", command="CONFIG", hint=elsewhere(looked)
    )


def elsewhere(looked: Looked) -> str:
    """Where the settings live, in words, where CONFIG cannot change them."""
    if looked.provider is not None:
        return f"the policy: {looked.provider.policy}; the limit: {looked.provider.limit}"
    return f"set maxmemory and maxmemory-policy in {looked.config_file or SOME_FILE} or at your provider, and restart"


# Changing


def _carry_out(store: CheckoutStore, tuning: Tuning, agreed: Agreed, force: bool, undo: UndoFile) -> Tuning:
    if not force:
        for step in tuning.steps:
            _check_that_it_fits(step)
    if not (tuning.anything_to_do and agreed(tuning)):
        return tuning
    done: list[Step] = []
    for step in tuning.steps:
        try:
            done.append(_changed(step, tuning, undo, store.clock.wall()))
        except CheckoutError as error:
            if not done:
                raise
            raise _in_part(tuning.steps, len(done), error) from error
    return Tuning(tuple(done), asked=True, persist=tuning.persist, agreed=True, undone=tuning.undone)


def _check_that_it_fits(step: Step) -> None:
    limit, policy = step.changes.maxmemory, step.changes.policy
    if not step.proposed.maxmemory or (limit is None and policy is None):
        return
    looked = step.looked
    ahead = outlook(looked, step.proposed)
    if ahead.excess is None:
        raise TuneRefused(f"{looked.place} does not tell how much memory is in use, so the data may not fit")
    today = outlook(looked, looked.limits)
    if not ahead.excess or (limit is None and today.excess and ahead.evicts is today.evicts):
        return
    loss = _loss(ahead.sessions) if ahead.evicts != "nothing" else "Redis would refuse every write"
    raise TuneRefused(
        f"{looked.place} uses {looked.counted:,} bytes, {ahead.excess:,} more than {step.proposed.maxmemory:,}: {loss}"
    )


def _loss(sessions: int | None) -> str:
    if sessions is None:
        return "Redis would evict the rest at once"
    return f"Redis would evict the rest at once, about {sessions:,} sessions among it"


def _in_part(steps: Sequence[Step], number: int, error: CheckoutError) -> TuneFailed:
    changed = ", ".join(step.looked.place for step in steps[:number])
    others = ", ".join(step.looked.place for step in steps[number:])
    return TuneFailed(f"changed: {changed}; not changed: {others}: {error}", error)


def _changed(step: Step, tuning: Tuning, undo: UndoFile, now: int) -> Step:
    looked, changes = step.looked, step.changes
    after = looked.limits
    if not changes.is_empty:
        earlier = undo.last(looked.place)
        change = Change(now, looked.run, looked.limits.only(changes).settings(), changes.settings())
        undo.put(looked.place, change)  # before it happens: nothing is changed that cannot be taken back
        try:
            set_limits(looked.server, looked.limits, changes)
        except (CommandDenied, RedisRefusing) as refusal:
            after = _after_refusal(looked, undo, earlier)
            if after.agrees_with(looked.limits):
                raise _explained(refusal, looked) from refusal
            raise
        except RedisUnavailable as away:
            raise RedisUnavailable(f"{away}; whether it was changed is not known", hint=LOOK) from away
        after = _verified(looked, changes)
    if tuning.undone:
        undo.put(looked.place, None)
    return Step(looked, step.proposed, after, persist_at(looked, after) if tuning.persist else None)


def _after_refusal(looked: Looked, undo: UndoFile, earlier: Change | None) -> Limits:
    """What it is now; where nothing has changed, what could be taken back before still can."""
    after = looked.limits.with_(limits_now(looked.server))
    if after.agrees_with(looked.limits):
        undo.put(looked.place, earlier)
    return after


def _verified(looked: Looked, changes: Limits) -> Limits:
    after = limits_now(looked.server)
    if not after.agrees_with(changes):
        raise CheckoutError(
            f"{looked.place} accepted {_in_words(changes)} and now says {_in_words(after.only(changes))}",
            hint=f"{LOOK}; another program, or the provider, sets it too",
        )
    return after


def set_limits(server: RedisServer, today: Limits, changes: Limits) -> None:
    """Set several settings at once, or, where a server cannot, in an order that evicts nothing on the way.

    Raises:
        CommandDenied: this user may not.
        RedisUnavailable: it refuses, or does not answer: then nobody knows whether it was done.
    """
    settings = _in_safe_order(today, changes)
    try:
        server.configure(settings)
    except RedisRefusing as refusal:
        if len(settings) == 1 or _TOO_MANY not in str(refusal).lower():
            raise
        for name, value in settings.items():  # before 7.0, one at a time
            server.configure({name: value})


def _in_safe_order(today: Limits, changes: Limits) -> dict[str, str]:
    settings = changes.settings()
    limit = settings.pop(MAXMEMORY, None)
    if limit is None:
        return settings
    rises = int(limit) == 0 or 0 < (today.maxmemory or 0) < int(limit)
    return {MAXMEMORY: limit, **settings} if rises else {**settings, MAXMEMORY: limit}


# What was asked for


def checked(wanted: Limits, *, advise: bool, undo: bool, persist: bool) -> None:
    """Say which options contradict each other.

    Raises:
        InvalidInput: they do.
    """
    if advise and (undo or persist):
        raise InvalidInput("--advise changes nothing", hint=f"{LOOK} --advise")
    if (advise or undo) and not wanted.is_empty:
        option = "--advise" if advise else "--undo"
        raise InvalidInput(f"{option} says itself what to set", hint=f"{LOOK} {option}")


def run(store: CheckoutStore, wanted: Limits, *, agreed: Agreed, persist: bool, force: bool, undo: bool) -> Tuning:
    """Undo, change, persist what is, or only look: whatever was asked for.

    Raises:
        CheckoutError: as :func:`undo_last`, :func:`tune` and :func:`look` do.
    """
    if undo:
        return undo_last(store, agreed=agreed, persist=persist, force=force)
    if persist or not wanted.is_empty:
        return tune(store, wanted, agreed=agreed, persist=persist, force=force)
    return look(store)

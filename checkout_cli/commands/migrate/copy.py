"""``migrate run --to``: copy one Redis to another one, while the shop goes on with the first.

A copy keeps the stamp of its own server, so nobody believes it on the new one: its first read asks the database. So
nothing is lost that the shop writes on the old server after the copy. What only Redis has is flushed to the database
first: it would be written twice from two places. Caches stay behind: they fill again, and a price change must not be
undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import Any

from checkout_cli.commands.migrate.checkpoint import Checkpoint, CheckpointFile, Counts, identities_of, place_of
from checkout_cli.commands.migrate.run import JOB, PAGE, RATE, MigrationReport, begun, in_attempts, move, need_redis
from checkout_cli.config.redis_url import parts_of
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, DatabaseUnavailable, InvalidInput, RedisUnavailable, WrongKeyType
from checkout_cli.jobs.bounded_run import BoundedRun, Step
from checkout_cli.keys import Family, checkout_id_of, family_of
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import NO_IDENTITY, Kind
from checkout_cli.store.records import Problem
from checkout_cli.store.redis.admin import FIRST_CURSOR, RedisAdmin
from checkout_cli.store.redis.commands import decoded
from checkout_cli.store.redis.copies import SessionCopy, extend_ttls, put_hashes, put_sessions, read_hashes
from checkout_cli.store.redis.index import Entry, RedisIndex
from checkout_cli.store.redis.opened import Look

DIRECTION = "Redis to another Redis"
_OTHERS = {Family.USERS, Family.STATS}
SLACK = 1_000
"""Milliseconds by which a copy's end may differ from the original's before it is moved."""


def target_settings(url: str, mode: str, settings: Settings) -> Settings:
    """Settings for the other Redis, with the same certificates and time-outs; raises InvalidInput."""
    try:
        parts = parts_of(url)
    except ValueError as error:
        raise InvalidInput(f"--to {error}", hint="--to redis://user@host:6379/0") from error
    if "redis_password" in parts:
        raise InvalidInput(
            "--to has a password in it, which everybody on this machine can read",
            hint="set REDIS_TO_PASSWORD, or REDIS_TO_PASSWORD_FILE, and leave it out of the URL",
        )
    defaults: dict[str, Any] = {"redis_username": "", "redis_db": 0, "redis_tls_server_name": ""}
    return replace(
        settings,
        **defaults | parts,
        redis_url="",
        redis_password=settings.redis_to_password,
        redis_password_file=settings.redis_to_password_file,
        redis_sentinels="",
        redis_mode=mode,
        redis_cluster_nodes="",
    )


@contextmanager
def target_at(url: str, mode: str, settings: Settings) -> Iterator[tuple[RedisAdmin, str]]:
    """The other Redis and its address; raises as :func:`target_settings`."""
    found = target_settings(url, mode, settings)
    with closing(RedisAdmin(found)) as tier:
        yield tier, place_of(found)


def move_to(
    store: CheckoutStore,
    target: RedisAdmin,
    place: str,
    file: CheckpointFile,
    run: BoundedRun | None = None,
    *,
    restart: bool = False,
) -> MigrationReport:
    """Copy sessions, tracked users and statistics; continues an interrupted run. Raises as :func:`migrate`."""
    need_redis(store)
    here = place_of(store.settings)
    run = run or BoundedRun(store.clock, rate=RATE)

    def copy_keys(last: str, counts: Counts) -> Step:
        keys, cursor = store.redis.scan_step("*", last or FIRST_CURSOR, PAGE)
        if missing := store.redis.missing_servers():
            raise RedisUnavailable(f"no answer from {', '.join(missing)}: what only they have would be missing")
        families = [(key, family_of(key)) for key in keys]
        sessions = [checkout_id_of(decoded(key)) for key, family in families if family is Family.SESSIONS]
        in_attempts(sessions, counts, lambda names: _attempt(store, target, names, counts))
        others = [key for key, family in families if family in _OTHERS]
        counts.others += put_hashes(target, read_hashes(store.redis, others))
        return Step(len(keys), cursor)

    with run.locked(store, JOB):
        servers = refuse_same(store, target, place)
        now = store.clock.wall()
        number = store.index.count(now).number
        fresh = Checkpoint(f"Redis {here}", f"Redis {place}", servers, DIRECTION, now, now, number)
        return move(store, file, run, begun(fresh, file, restart=restart), copy_keys)


def refuse_same(store: CheckoutStore, target: RedisAdmin, place: str) -> str:
    """The identities of both sides; raises InvalidInput for the same server, ConfigurationError for a wrong mode."""
    ours = identities_of(store.redis)
    with mode_of_target():
        theirs = identities_of(target)
    known = set(ours) & set(theirs) - {NO_IDENTITY.decode()}
    if known or place == place_of(store.settings):
        raise InvalidInput(
            f"{place} is the server that the sessions are on", hint="checkoutctl info server, on both: the run_id"
        )
    return f"{','.join(ours)} to {','.join(theirs)}"


@contextmanager
def mode_of_target() -> Iterator[None]:
    """Names ``--to-mode`` in the hint, instead of this side's setting."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(str(error), hint="--to-mode cluster, or standalone") from error


def look_there(target: RedisAdmin, checkout_ids: Sequence[str]) -> list[Look]:
    with mode_of_target():
        return target.look(checkout_ids)


class Action(StrEnum):
    """What to do with a session."""

    COPY = auto()
    REPLACE = auto()
    KEEP = auto()
    """What is there is the same, or newer."""
    DIRTY = auto()
    DIFFERS = auto()
    """Another program's value on one of the sides: nobody can tell which is newer; or no session at all."""
    GONE = auto()


def action_for(mine: Look, there: Look) -> Action:
    """Raises RedisUnavailable where a server did not answer."""
    for look in (mine, there):
        if look.problem is Problem.UNREACHABLE:
            raise RedisUnavailable(look.detail)
    if mine.value is None and mine.problem is None:
        return Action.GONE
    copy_here, copy_there = mine.copy, there.copy
    if copy_here is None or copy_here.kind is Kind.UNREADABLE or there.problem is not None:
        return Action.DIFFERS
    if copy_here.is_dirty and not copy_here.is_external:
        return Action.DIRTY
    if copy_there is None:
        return Action.COPY
    if there.value == mine.value:
        return Action.KEEP
    if copy_here.is_external or copy_there.is_external:
        return Action.DIFFERS
    if copy_there.is_dirty or copy_there.version >= copy_here.version:
        return Action.KEEP
    return Action.REPLACE


@dataclass(frozen=True)
class _Seen:
    checkout_id: str
    mine: Look
    there: Look

    @property
    def ends_sooner(self) -> bool:
        """Whether the copy ends before the original, which was read since."""
        return self.mine.ttl is not None and self.there.ttl is not None and self.there.ttl < self.mine.ttl - SLACK

    def copy(self, usual: int) -> SessionCopy:
        """``usual`` is the TTL (ms) for a session without an end that replaces another one."""
        assert self.mine.value is not None  # noqa: S101  (what is copied is there)
        ttl = usual if self.mine.ttl is None and self.there.value is not None else self.mine.ttl
        return SessionCopy(self.checkout_id, self.mine.value, ttl, self.there.value)


def _attempt(store: CheckoutStore, target: RedisAdmin, names: Sequence[str], counts: Counts) -> list[str]:
    """Returns those that changed meanwhile."""
    actions: dict[Action, list[_Seen]] = {action: [] for action in Action}
    looks, flushed = _flushed(store, names)
    counts.flushed += flushed
    for name, mine, there in zip(names, looks, look_there(target, names), strict=True):
        actions[action_for(mine, there)].append(_Seen(name, mine, there))
    counts.dirty += len(actions[Action.DIRTY])
    counts.external += len(actions[Action.DIFFERS])
    counts.ended += len(actions[Action.GONE])
    counts.current += len(actions[Action.KEEP])
    extend_ttls(target, [(seen.checkout_id, seen.mine.ttl or 0) for seen in actions[Action.KEEP] if seen.ends_sooner])
    wanted = actions[Action.COPY] + actions[Action.REPLACE]
    usual = int(store.settings.session_ttl * 1000)
    put = put_sessions(target, [seen.copy(usual) for seen in wanted])
    done = [seen for seen, success in zip(wanted, put, strict=True) if success]
    counts.published += sum(seen.there.value is None for seen in done)
    counts.updated += sum(seen.there.value is not None for seen in done)
    _enter(store, target, [*done, *actions[Action.KEEP]])
    return [seen.checkout_id for seen, success in zip(wanted, put, strict=True) if not success]


def _flushed(store: CheckoutStore, names: Sequence[str]) -> tuple[list[Look], int]:
    """The looks after the flush, and the number of flushed sessions."""
    looks, flushed = store.redis.look(names), 0
    for place, (name, look) in enumerate(zip(names, looks, strict=True)):
        with suppress(DatabaseUnavailable):  # it stays where it is, and is counted
            if store.publisher.settle_seen(name, look) is not None:
                looks[place] = store.redis.look([name])[0]
                flushed += 1
    return looks, flushed


def _enter(store: CheckoutStore, target: RedisAdmin, some: Sequence[_Seen]) -> None:
    now = store.clock.wall()
    entries = [Entry(seen.checkout_id, now + seen.mine.ttl) for seen in some if seen.mine.ttl is not None]
    with suppress(WrongKeyType):  # another program's keys are in the way there: a clean-up enters them
        RedisIndex(target).add(entries)

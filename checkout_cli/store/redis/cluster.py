"""A Redis Cluster: each command goes to the primary that has its key's slot (Redis Cluster specification).

An unavailable primary is missed for its own slots only; the slots are asked again after it, as a replica may take over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError

from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, RedisUnavailable, SlotMoved, WrongServer
from checkout_cli.store.breaker import FIRST_WAIT, Breaker
from checkout_cli.store.late_refusals import LateRefusals
from checkout_cli.store.redis.commands import Command, decoded, key_of
from checkout_cli.store.redis.connection import insist_on_allowed
from checkout_cli.store.redis.replies import PORTS, SLOTS
from checkout_cli.store.redis.server import RedisServer

_SLOT_BITS = 14
MOST_REDIRECTIONS = 5
"""How often one command is sent on before the cluster counts as away: its nodes contradict each other."""
LOOKED_AGAIN_AFTER = FIRST_WAIT
"""Seconds between two looks at where the slots are, after a server has failed."""

Address = tuple[str, int]

_log = logging.getLogger("checkout_cli.redis")


class RedisCluster:
    """The primaries of a cluster, as one. Thread-safe; asked for its slots when first used."""

    def __init__(self, settings: Settings, *, elapsed: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._settings = settings
        self._elapsed = elapsed
        self._jitter = jitter
        # Open while no node answers at all; each server has one of its own besides.
        self.breaker = Breaker(elapsed, jitter, longest_try=3 * settings.timeout)
        self._refusals = LateRefusals("the cluster")
        self._servers: dict[Address, RedisServer] = {}
        self._slots: list[RedisServer | None] = []
        self._members: list[RedisServer] = []
        self._learning = threading.Lock()
        self._in_doubt = True
        self._learnt_at = float("-inf")

    def close(self) -> None:
        """Close all connections, also where one cannot be closed."""
        with ExitStack() as closing:
            for server in list(self._servers.values()):
                closing.callback(server.close)

    def members(self) -> list[RedisServer]:
        """The primaries that have slots; raises ``RedisUnavailable`` if no node answers."""
        self._look_where_slots_are()
        return self._members

    def server_of(self, key: bytes) -> RedisServer:
        """The primary that has a key; raises ``RedisUnavailable`` if no node answers, or none has its slot."""
        self._look_where_slots_are()
        server = self._slots[key_slot(key)]
        if server is None:
            self._in_doubt = True
            raise RedisUnavailable(f"no primary of the cluster at {self._settings.redis_place} has the key's slot")
        return server

    # Traffic

    def exchange(
        self, commands: Sequence[Command], identity: bytes | None = None, *, bound: bool = False
    ) -> tuple[bytes | None, list[Any]]:
        """As :meth:`RedisServer.exchange`, each command to the server of its key; ``bound`` holds for the first."""
        first = None
        if bound:
            first, reply = self._bound(commands[0], identity)
            return first, [reply, *self.exchange(commands[1:])[1]]
        replies: list[Any] = [None] * len(commands)
        for server, places in self._by_server(commands, replies):
            try:
                who, answers = server.send([commands[place] for place in places])
            except RedisUnavailable as away:
                self._in_doubt = True
                who, answers = None, [away] * len(places)
            for place, answer in zip(places, answers, strict=True):
                whose, replies[place] = self._followed(commands[place], server, who, answer)
                first = whose if place == 0 else first
        return first, replies

    def _by_server(self, commands: Sequence[Command], replies: list[Any]) -> list[tuple[RedisServer, list[int]]]:
        """The places of commands by their server; where no server has the slot, the reply is set to the error."""
        places: dict[RedisServer, list[int]] = {}
        for place, command in enumerate(commands):
            key = key_of(command)
            try:
                server = self._answering() if key is None else self.server_of(key)
            except RedisUnavailable as away:
                replies[place] = away
            else:
                places.setdefault(server, []).append(place)
        return list(places.items())

    def _answering(self) -> RedisServer:
        away = RedisUnavailable(f"no primary of the cluster at {self._settings.redis_place} has any slots")
        for server in self.members():
            try:
                server.ask(("PING",))
            except RedisUnavailable as error:
                away = error
            else:
                return server
        raise away

    def _bound(self, command: Command, identity: bytes | None) -> tuple[bytes | None, Any]:
        """The reply of the server that answered *open*, which may have lost the slot since."""
        key = key_of(command)
        assert key is not None  # noqa: S101  (a publish has one)
        owner = self.server_of(key)
        asked = (one for one in self._members if identity is not None and one.identity == identity)
        server = next(asked, owner)
        try:
            if server is not owner and not self._sends_to(server, owner, key):
                raise self._slot_moved()
            who, (reply,) = server.send([command], identity, bound=True, asking=server is not owner)
        except SlotMoved:
            raise
        except RedisUnavailable:
            self._in_doubt = True
            if server.identity != identity:
                raise self._slot_moved() from None
            raise
        if isinstance(reply, AskError):  # MOVED is one too
            raise self._slot_moved() from reply
        return who, self._judged(server, reply)

    def _sends_to(self, server: RedisServer, owner: RedisServer, key: bytes) -> bool:
        """Whether a key has moved to that server: else it may be getting the slot back, without this key."""
        _, (reply,) = owner.send([("EXISTS", key)])
        if not isinstance(reply, AskError) or isinstance(reply, MovedError):
            return False
        return self._target(reply, owner) is server

    def _slot_moved(self) -> SlotMoved:
        self._in_doubt = True
        return SlotMoved("the session's slot has moved to another server while it was written")

    def _followed(
        self, command: Command, server: RedisServer, who: bytes | None, reply: Any
    ) -> tuple[bytes | None, Any]:
        for _ in range(MOST_REDIRECTIONS):
            if not isinstance(reply, AskError):
                return who, self._judged(server, reply)
            asking = not isinstance(reply, MovedError)
            try:
                server = self._target(reply, server)
                self._note_redirection(reply, server)
                who, (reply,) = server.send([command], asking=asking)
            except RedisUnavailable as away:
                self._in_doubt = True
                return None, away
        return None, RedisUnavailable(f"the nodes of the cluster at {self._settings.redis_place} contradict each other")

    def _target(self, redirection: AskError, asked: RedisServer) -> RedisServer:
        """The server that a redirection names; raises ``RedisUnavailable`` where there cannot or must not be one."""
        if not (0 <= redirection.slot_id < SLOTS and redirection.port in PORTS):
            raise WrongServer(f"Redis at {asked.place} sends us to a slot or a port that there cannot be")
        return self._named(redirection.host, redirection.port, asked)

    def _note_redirection(self, redirection: AskError, to: RedisServer) -> None:
        if isinstance(redirection, MovedError):
            _log.debug("slot %d has moved to %s", redirection.slot_id, to.place)
            self._slots[redirection.slot_id] = to
            self._in_doubt = True  # seldom does one slot move alone
        if to not in self._members:
            self._members = [*self._members, to]  # a new primary has keys before it has its first slot

    def _judged(self, server: RedisServer, reply: Any) -> Any:
        if isinstance(reply, ClusterDownError):  # the server is well: it misses the slot, or most of the others
            self._in_doubt = True
            return RedisUnavailable(f"the cluster at {server.place} cannot serve now: {reply}")
        return server.judged(reply) if isinstance(reply, RedisError) else reply

    # Where the slots are

    def _look_where_slots_are(self) -> None:
        if not self._in_doubt or self._elapsed() - self._learnt_at < LOOKED_AGAIN_AFTER:
            return
        if not self._learning.acquire(blocking=not self._slots):
            return  # somebody is looking; until then, what we knew
        try:
            if self._elapsed() - self._learnt_at < LOOKED_AGAIN_AFTER:
                return
            self.breaker.check()
            try:
                self._learn()
            except RedisUnavailable as away:
                self.breaker.failed(away)
                raise
            self.breaker.succeeded()
            self._learnt_at = self._elapsed()
            self._in_doubt = False
        finally:
            self._learning.release()

    def _learn(self) -> None:
        seeds = [self._at(address) for address in self._settings.cluster_nodes()]
        known = sorted(dict.fromkeys([*seeds, *self._members]), key=lambda server: server.breaker.is_open)
        # Without any: it was taken out of the cluster, or is about to join it, and the others know.
        away = RedisUnavailable(f"no node of the cluster at {self._settings.redis_place} has any slots")
        for server in known:
            try:
                _, (reply,) = server.send([("CLUSTER", "SLOTS")])
            except RedisUnavailable as error:
                away = error
                continue
            if isinstance(reply, RedisError):
                away = _busy(server, reply)
            elif reply:
                self._take(reply, server)
                return
        raise away

    def _take(self, ranges: Any, asked: RedisServer) -> None:
        slots: list[RedisServer | None] = [None] * SLOTS
        for first, last, (address, port, *_), *_ in ranges:
            server = self._named(decoded(address or b""), int(port), asked)
            slots[first : last + 1] = [server] * (last + 1 - first)
        self._slots = slots
        self._members = list(dict.fromkeys(server for server in slots if server is not None))

    def _named(self, host: str, port: int, by: RedisServer) -> RedisServer:
        return self._at((host or by.host, port))  # a node that does not know its own address leaves it out

    def _at(self, address: Address) -> RedisServer:
        server = self._servers.get(address)
        if server is None:
            insist_on_allowed(self._settings, address[0])
            options: dict[str, Any] = {"elapsed": self._elapsed, "jitter": self._jitter, "refusals": self._refusals}
            server = RedisServer(self._settings, address=address, **options)
            server = self._servers.setdefault(address, server)
        return server


def _busy(server: RedisServer, reply: RedisError) -> RedisUnavailable:
    """Why a node cannot tell now; raises the errors that all nodes would return."""
    if "cluster support disabled" in str(reply):
        raise ConfigurationError(
            f"Redis at {server.place} is no node of a cluster", hint="checkoutctl config set REDIS_MODE=standalone"
        )
    judged = server.judged(reply)
    assert isinstance(judged, Exception)  # noqa: S101
    if not isinstance(judged, RedisUnavailable):
        raise judged
    return judged


def cursor_in_slot_of(key: bytes, place: int) -> int:
    """A cursor for SCAN in a key's slot, its lowest bits (Valkey 8, Redis 7.4); ``place`` is any 63-bit number."""
    return place >> _SLOT_BITS << _SLOT_BITS | key_slot(key)

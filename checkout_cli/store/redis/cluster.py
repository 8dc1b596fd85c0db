"""A Redis Cluster: each command goes to the primary that has its key's slot (Redis Cluster specification).

A primary that is away is missed for its own slots only. Where slots are is learnt from any node, corrected by the
servers' redirections, and asked again after one of them has failed: its replica may have taken over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError

from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, RedisUnavailable, SlotMoved, WrongServer
from checkout_cli.store.breaker import FIRST_WAIT, Breaker
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
    """The primaries of a cluster, as one. Thread-safe; it is asked for its slots when first used."""

    def __init__(self, settings: Settings, *, elapsed: Callable[[], float], jitter: Callable[[], float]) -> None:
        """Connects to nothing yet."""
        self._settings = settings
        self._elapsed = elapsed
        self._jitter = jitter
        self.breaker = Breaker(elapsed, jitter, longest_try=3 * settings.timeout)
        """Open while no node answers at all; each server has one of its own besides."""
        self._servers: dict[Address, RedisServer] = {}
        self._slots: list[RedisServer | None] = []
        self._members: list[RedisServer] = []
        self._learning = threading.Lock()
        self._in_doubt = True
        self._learnt_at = float("-inf")

    def close(self) -> None:
        """Close all connections."""
        for server in list(self._servers.values()):
            server.close()

    def members(self) -> list[RedisServer]:
        """The primaries that have slots.

        Raises:
            RedisUnavailable: no node of the cluster answers.
        """
        self._look_where_slots_are()
        return self._members

    def server_of(self, key: bytes) -> RedisServer:
        """The primary that has a key.

        Raises:
            RedisUnavailable: no node of the cluster answers, or no primary has its slot.
        """
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
        """Send each command to the server that has its key, those of one server in one round trip.

        Returns the identity of the server that answered the first, and all replies, the errors among them translated;
        what a server that is away would have answered is the error that says so. ``bound`` holds for the first
        command: it goes to the server of ``identity``, or fails.
        """
        first = None
        if bound:
            first, reply = self._bound(commands[0], identity)
            _, others = self.exchange(commands[1:]) if len(commands) > 1 else (None, [])
            return first, [reply, *others]
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
        """Which commands, by their place, go to which server; of a slot that nobody has, the reply is the error."""
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
        """A server for a command without a key: the first that answers.

        Raises:
            RedisUnavailable: none does.
        """
        away: RedisUnavailable | None = None
        for server in self.members():
            try:
                server.ask(("PING",))
            except RedisUnavailable as error:
                away = error
            else:
                return server
        raise away or RedisUnavailable(f"no primary of the cluster at {self._settings.redis_place} has any slots")

    def _bound(self, command: Command, identity: bytes | None) -> tuple[bytes | None, Any]:
        """One command's reply from the server that *open* was answered by, which may have lost the slot since."""
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
        """Whether a key is no longer the owner's, but that server's.

        Only then may that one be made to answer: it may as well have had the slot, and be getting it back without this
        key, so that a publish would be told that there is nothing to replace.
        """
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
        """A command's reply, after all redirections."""
        for _ in range(MOST_REDIRECTIONS):
            if not isinstance(reply, AskError):
                return who, self._judged(server, reply)
            asking = not isinstance(reply, MovedError)
            try:
                server = self._redirected(reply, to=self._target(reply, server))
                who, (reply,) = server.send([command], asking=asking)
            except RedisUnavailable as away:
                self._in_doubt = True
                return None, away
        return None, RedisUnavailable(f"the nodes of the cluster at {self._settings.redis_place} contradict each other")

    def _target(self, redirection: AskError, asked: RedisServer) -> RedisServer:
        """The server that a redirection names.

        Raises:
            RedisUnavailable: it names none that there can be, or one that REDIS_ALLOWED_HOSTS leaves out.
        """
        if not (0 <= redirection.slot_id < SLOTS and redirection.port in PORTS):
            raise WrongServer(f"Redis at {asked.place} sends us to a slot or a port that there cannot be")
        return self._at((self._host_of(redirection.host, asked), redirection.port))

    def _redirected(self, redirection: AskError, *, to: RedisServer) -> RedisServer:
        if isinstance(redirection, MovedError):
            _log.debug("slot %d has moved to %s", redirection.slot_id, to.place)
            self._slots[redirection.slot_id] = to
            self._in_doubt = True  # seldom does one slot move alone
        if to not in self._members:
            self._members = [*self._members, to]  # a new primary has keys before it has its first slot
        return to

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
        """Ask one node after the other, those that answered last before the others."""
        seeds = [self._at(address) for address in self._settings.cluster_nodes()]
        known = sorted(dict.fromkeys([*seeds, *self._members]), key=lambda server: server.breaker.is_open)
        away: RedisUnavailable | None = None
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
            else:  # it was taken out of the cluster, or is about to join it: the others know
                away = away or RedisUnavailable(f"no node of the cluster at {self._settings.redis_place} has any slots")
        assert away is not None  # noqa: S101  (the settings name one node at least)
        raise away

    def _take(self, ranges: Any, asked: RedisServer) -> None:
        slots: list[RedisServer | None] = [None] * SLOTS
        for first, last, (address, port, *_), *_ in ranges:
            server = self._at((self._host_of(decoded(address or b""), asked), int(port)))
            slots[first : last + 1] = [server] * (last + 1 - first)
        self._slots = slots
        self._members = list(dict.fromkeys(server for server in slots if server is not None))

    @staticmethod
    def _host_of(host: str, asked: RedisServer) -> str:
        """A node that does not know its own address leaves it out: it is the one that was asked."""
        return host or asked.host

    def _at(self, address: Address) -> RedisServer:
        server = self._servers.get(address)
        if server is None:
            insist_on_allowed(self._settings, address[0])
            server = RedisServer(self._settings, address=address, elapsed=self._elapsed, jitter=self._jitter)
            server = self._servers.setdefault(address, server)
        return server


def _busy(server: RedisServer, reply: RedisError) -> RedisUnavailable:
    """Why a node cannot tell now; raises whatever the other nodes would tell as well."""
    if "cluster support disabled" in str(reply):
        raise ConfigurationError(f"Redis at {server.place} is no node of a cluster", hint="set REDIS_MODE=standalone")
    judged = server.judged(reply)
    assert isinstance(judged, Exception)  # noqa: S101
    if not isinstance(judged, RedisUnavailable):
        raise judged
    return judged


def cursor_in_slot_of(key: bytes, place: int) -> int:
    """A cursor for SCAN among the keys of a key's slot; ``place`` is any number of up to 63 bits.

    Where a server keeps a table for each slot (Valkey 8, Redis 7.4), the lowest bits of a cursor say which; any other
    server takes it for one of its whole table.
    """
    return place >> _SLOT_BITS << _SLOT_BITS | key_slot(key)

"""How far a migration is: a file of the user's own, so that the same command goes on after a kill at any point."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, InvalidInput
from checkout_cli.files.atomic_file import state_directory, write_atomically
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import NO_IDENTITY
from checkout_cli.store.redis.admin import RedisAdmin

DIRECTION = "database to Redis"
FILE = "migration.json"
_RESTART = "checkoutctl migrate run --restart"


class Counts(msgspec.Struct):
    """What became of the sessions that were looked at.

    ``published``: Redis lacked them. ``updated``: Redis had an older version, or a copy that an earlier run of the
    server left, which nobody trusts. ``current``: nothing was to be done. ``dirty``: Redis has writes that the
    database lacks. ``external``: an external writer's value is there. ``left``: the shop writes or fills them itself
    now. ``ended``: expired or deleted meanwhile. Only of a move to another Redis: ``flushed`` are those of which the
    database got something first, ``others`` are keys that are no sessions.
    """

    published: int = 0
    updated: int = 0
    current: int = 0
    dirty: int = 0
    external: int = 0
    left: int = 0
    ended: int = 0
    flushed: int = 0
    others: int = 0

    @property
    def done(self) -> int:
        """How many sessions were looked at."""
        return sum(getattr(self, name) for name in self.__struct_fields__ if name not in {"flushed", "others"})


class Checkpoint(msgspec.Struct, rename="camel"):
    """Up to which id (``last``) all is done. Moments are in milliseconds since the epoch."""

    JSON_KEYS = "source target direction startedAt@ updatedAt@ finished done=counts.done total=total_now counts"

    source: str
    target: str
    server: str
    direction: str
    started_at: int
    updated_at: int
    total: int
    last: str = ""
    finished: bool = False
    counts: Counts = msgspec.field(default_factory=Counts)

    @property
    def total_now(self) -> int:
        """All that is to be looked at: more than at first, where sessions were created meanwhile."""
        return max(self.total, self.counts.done)


class _Sealed(msgspec.Struct):
    checkpoint: Checkpoint
    digest: str


@dataclass(frozen=True)
class CheckpointFile:
    """The one file; ``directory`` defaults to ``$XDG_STATE_HOME/checkoutctl``."""

    directory: Path | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return (self.directory or state_directory()) / FILE

    def read(self) -> Checkpoint | None:
        """The checkpoint, ``None`` where there is none.

        Raises:
            InvalidInput: it was edited or damaged, or cannot be read.
        """
        try:
            sealed = msgspec.json.decode(self.path.read_bytes(), type=_Sealed)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _edited() from error
        if sealed.digest != _digest(sealed.checkpoint):
            raise _edited()
        return sealed.checkpoint

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace it, whole or not at all.

        Raises:
            CheckoutError: the file cannot be written.
        """
        try:
            write_atomically(self.path, msgspec.json.encode(_Sealed(checkpoint, _digest(checkpoint))))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise CheckoutError(
                f"the checkpoint cannot be written to {self.path}: {reason}", hint="set XDG_STATE_HOME to another place"
            ) from error


def _edited() -> InvalidInput:
    return InvalidInput("the checkpoint is damaged or was edited, so it is not gone by", hint=_RESTART)


def _digest(checkpoint: Checkpoint) -> str:
    return hashlib.sha256(msgspec.json.encode(checkpoint)).hexdigest()


def source_of(store: CheckoutStore) -> str:
    """Which database it is, without a password; an SQLite file that was replaced by another one is another database."""
    path = store.database.sqlite_path
    if path is None:
        return store.database.place
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return f"{path} ({status.st_dev}:{status.st_ino})"


def target_of(store: CheckoutStore) -> tuple[str, str]:
    """Where Redis is, and which servers answer there now: a restarted one is another, and may have lost its keys.

    Raises:
        RedisUnavailable: one of them does not answer.
    """
    return place_of(store.settings), ",".join(identities_of(store.redis))


def place_of(settings: Settings) -> str:
    """Where Redis is, and which of its databases."""
    return f"{settings.redis_place}/{settings.redis_db}"


def identities_of(redis: RedisAdmin) -> list[str]:
    """Who the servers are, ``-`` for one that does not tell.

    Raises:
        RedisUnavailable: one of them does not answer.
    """
    identities = []
    for server in sorted(redis.servers(), key=lambda one: one.place):
        identity = server.identify()
        identities.append((identity or NO_IDENTITY).decode())
    return identities


def refuse_foreign(checkpoint: Checkpoint, wanted: Checkpoint) -> None:
    """Go on only from a checkpoint of this very migration.

    Raises:
        InvalidInput: it is of another one.
    """
    if (checkpoint.source, checkpoint.target, checkpoint.direction) != (wanted.source, wanted.target, wanted.direction):
        raise InvalidInput(
            f"another migration has not finished ({checkpoint.source} to {checkpoint.target})",
            hint="finish that one, or forget it: checkoutctl migrate run --restart",
        )

"""A migration's progress: a private file, so that the same command continues after a kill at any point."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checkout_cli.config.settings import Settings
from checkout_cli.config.trusted_file import read_regular
from checkout_cli.errors import CheckoutError, InvalidInput
from checkout_cli.files.atomic_file import NoHome, state_directory, write_atomically
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import NO_IDENTITY
from checkout_cli.store.redis.admin import RedisAdmin

DIRECTION = "database to Redis"
FILE = "migration.json"
LARGEST = 64 * 1024
"""Bytes of a checkpoint that are read."""
_RESTART = "checkoutctl migrate run --restart"


class Counts(msgspec.Struct):
    """Outcomes of sessions.

    ``published``: Redis lacked them. ``updated``: Redis had an older version, or a copy of an earlier run of the
    server. ``dirty``: Redis has writes that the database lacks. ``left``: the shop is writing them. ``ended``
    meanwhile. Only with ``--to``: ``flushed`` to the database first, ``others`` are keys that are no sessions.
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
        return sum(getattr(self, name) for name in self.__struct_fields__ if name not in {"flushed", "others"})


class Checkpoint(msgspec.Struct, rename="camel"):
    """All up to the id ``last`` is done. Moments are in milliseconds."""

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
        """At least what is done: sessions are created meanwhile."""
        return max(self.total, self.counts.done)


class _Sealed(msgspec.Struct):
    checkpoint: Checkpoint
    digest: str


@dataclass(frozen=True)
class CheckpointFile:
    """``directory`` defaults to ``$XDG_STATE_HOME/checkoutctl``."""

    directory: Path | None = None

    @property
    def path(self) -> Path:
        return (self.directory or state_directory()) / FILE

    def read(self) -> Checkpoint | None:
        """``None`` where there is none; raises InvalidInput for a corrupt or edited file."""
        try:
            content, _ = read_regular(self.path, LARGEST)
            sealed = msgspec.json.decode(content, type=_Sealed)
        except (FileNotFoundError, NotADirectoryError, NoHome):
            return None
        except OSError as error:
            raise CheckoutError(
                f"the checkpoint cannot be read: {self.path}: {error.strerror or error}",
                hint="set XDG_STATE_HOME to another place",
            ) from error
        except (ValueError, msgspec.MsgspecError):
            sealed = None
        if sealed is None or sealed.digest != _digest(sealed.checkpoint):
            raise InvalidInput("the checkpoint is damaged or was edited, so it is not gone by", hint=_RESTART)
        return sealed.checkpoint

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace it whole or not at all; raises CheckoutError."""
        try:
            write_atomically(self.path, msgspec.json.encode(_Sealed(checkpoint, _digest(checkpoint))))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            where = "" if isinstance(error, NoHome) else f" to {self.path}"
            raise CheckoutError(
                f"the checkpoint cannot be written{where}: {reason}", hint="set XDG_STATE_HOME to another place"
            ) from error


def _digest(checkpoint: Checkpoint) -> str:
    return hashlib.sha256(msgspec.json.encode(checkpoint)).hexdigest()


def source_of(store: CheckoutStore) -> str:
    """The database without its password; another SQLite file at the same path is another database."""
    path = store.database.sqlite_path
    if path is None:
        return store.database.place
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return f"{path} ({status.st_dev}:{status.st_ino})"


def place_of(settings: Settings) -> str:
    return f"{settings.redis_place}/{settings.redis_db}"


def identities_of(redis: RedisAdmin) -> list[str]:
    """The servers' identities (``-``: unknown); a restarted server is another, and may have lost keys."""
    servers = sorted(redis.servers(), key=lambda server: server.place)
    return [(server.identify() or NO_IDENTITY).decode() for server in servers]


def refuse_foreign(checkpoint: Checkpoint, wanted: Checkpoint) -> None:
    """Raises InvalidInput for the checkpoint of another migration."""
    if (checkpoint.source, checkpoint.target, checkpoint.direction) != (wanted.source, wanted.target, wanted.direction):
        raise InvalidInput(
            f"another migration has not finished ({checkpoint.source} to {checkpoint.target})",
            hint="finish that one, or forget it: checkoutctl migrate run --restart",
        )

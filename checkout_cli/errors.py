"""All errors that this package raises on purpose, as one family.

Each has a message (what happened), ``__cause__`` (the driver's error, where there is one), ``hint`` (what to type next)
and ``exit_code``. Drivers' errors are translated where they enter, in the tiers; nothing above a tier catches a redis
or SQLAlchemy error.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar

from checkout_cli.typed import is_typeable


class ExitCode(IntEnum):
    """The exit codes of ``checkoutctl`` with their meanings; the README's table is made of them."""

    meaning: str

    def __new__(cls, number: int, meaning: str = "") -> ExitCode:
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code

    OK = 0, "done; and for `health`, healthy"
    FINDING = 1, "something was found: degraded, a failed check, a session that is none"
    USAGE = 2, "the command line, or what was handed over, is not acceptable; nothing was done"
    NOT_FOUND = 3, "there is no such session, user or cache entry, or not any more"
    DENIED = 4, "wrong password, unknown user, or a permission that is missing"
    UNAVAILABLE = 69, "no tier that could answer can be reached"
    TRY_AGAIN = 75, "somebody else is at it, clocks differ, or only memory is left to write to"
    CONFIGURATION = 78, "a setting is wrong; waiting does not help"
    INTERRUPTED = 130, "Ctrl-C, or the process was told to end"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class CheckoutError(Exception):
    """The root of all errors that this package raises on purpose."""

    exit_code: ExitCode = ExitCode.FINDING
    default_hint: str = ""
    last_resort: ClassVar[str] = "checkoutctl doctor"
    """What to type where the hint is no command."""
    hint: str

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = self.default_hint if hint is None else hint

    @property
    def next_step(self) -> str:
        """The command to type next; empty where only the help of what was typed says more."""
        return self.hint if is_typeable(self.hint) else self.last_resort

    @property
    def advice(self) -> str:
        """The hint where it is no command."""
        return "" if is_typeable(self.hint) else self.hint


def value_of(reply: Any, *absent: type[CheckoutError]) -> Any:
    """A reply; ``None`` for an error of these classes, while any other is raised."""
    if isinstance(reply, absent):
        return None
    if isinstance(reply, CheckoutError):
        raise reply
    return reply


class OwnMistake(CheckoutError):
    """Something that this program did not expect; it tells the kind and the place, and never a value."""

    default_hint = "report this line and the next one's answer"
    last_resort = "checkoutctl --version"

    def __init__(self, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        super().__init__(
            f"a mistake of this program: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        )
        self.__cause__ = error


class InvalidInput(CheckoutError):
    """The caller's input cannot be accepted; nothing was read or written."""

    exit_code = ExitCode.USAGE
    last_resort = ""


class Declined(CheckoutError):
    """Somebody was asked whether to go on, and said no; nothing was changed."""

    last_resort = ""


class CardDataRefused(InvalidInput):
    """A field, at ``path`` (as ``items[2].notes``), holds card data, which is never kept or repeated."""

    default_hint = "leave it out; keep the token that the payment provider gives you"

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what} is never stored")
        self.path = path


class ConfigurationError(CheckoutError):
    """A setting is wrong, or a server is set up so that it can never work; each of ``problems`` is one text."""

    exit_code = ExitCode.CONFIGURATION
    default_hint = "checkoutctl config check"
    last_resort = default_hint

    def __init__(self, *problems: str, hint: str | None = None) -> None:
        super().__init__("; ".join(problems), hint=hint)
        self.problems = problems


class AccessDenied(CheckoutError):
    """The server is there and refuses us: wrong password, unknown user, or a missing ACL permission."""

    exit_code = ExitCode.DENIED
    default_hint = "checkoutctl config show"


class CommandDenied(AccessDenied):
    """This user may not run this command (``grant``, as ``+config|get``, would allow it), or not on this key."""

    default_hint = "checkoutctl acl check"

    def __init__(self, message: str, *, grant: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.grant = grant


class DatabaseDenied(AccessDenied):
    """The database is there and refuses us: a wrong password, or a privilege that our role lacks."""

    default_hint = "check DATABASE_URL"


class ReadOnlyAccount(DatabaseDenied):
    """The account may read the database, and change nothing: it cannot tell whether the shop's own can."""

    default_hint = "set DATABASE_URL to the shop's own account, to prove a write"


class TablesRefused(ConfigurationError):
    """The database's tables are not for this program to use; nothing is read from them or written to them."""


class ForeignTable(TablesRefused):
    """A table in the database bears a name of ours and is somebody else's."""


class SchemaTooNew(TablesRefused):
    """A newer program has upgraded the database's tables: what this one would write there could be wrong."""

    default_hint = "upgrade checkoutctl on this machine: pip install --upgrade checkoutctl"


class SessionNotFound(CheckoutError):
    """No tier holds a session of this id."""

    exit_code = ExitCode.NOT_FOUND
    default_hint = "checkoutctl sessions list"


class SessionExpired(SessionNotFound):
    """The session was there and has ended: its time to live or its maximum age ran out."""


class SessionDeleted(SessionNotFound):
    """The session was deleted; a tombstone keeps its id from coming back."""


class UserNotFound(CheckoutError):
    """Nothing is tracked of such a user."""

    exit_code = ExitCode.NOT_FOUND
    default_hint = "checkoutctl users list"


class CacheEntryNotFound(CheckoutError):
    """Nothing is cached at such a key."""

    exit_code = ExitCode.NOT_FOUND
    default_hint = "checkoutctl cache delivery list"


class SessionExists(CheckoutError):
    """A session of this id exists already, so it cannot be created."""


class SessionCorrupt(CheckoutError):
    """The bytes stored for this session are not a JSON object, and no other tier has a good copy."""

    default_hint = "checkoutctl sessions list --tier redis"


class WrongKeyType(SessionCorrupt):
    """Another program keeps something at this session's key that is not even read: no string, or one too large."""


class TransitionRefused(CheckoutError):
    """The payment status may not go from where it is to where the caller wants it."""


class WriteConflict(CheckoutError):
    """Other writers changed the session again and again while we tried; nothing was written."""

    exit_code = ExitCode.TRY_AGAIN
    default_hint = "run the command again"


class TierUnavailable(CheckoutError):
    """A tier cannot be reached, or cannot serve now. Falling back to another tier is right."""

    exit_code = ExitCode.UNAVAILABLE
    default_hint = "checkoutctl doctor"


class RedisUnavailable(TierUnavailable):
    """Redis is away: refused, timed out, loading, out of memory, read-only, or busy."""

    is_certain = False
    """Whether nothing of what was asked has happened, or will: it was never sent, or was refused."""


class RedisEmptied(CheckoutError):
    """Redis answers and has lost sessions, which the database still has: each read asks the database."""

    default_hint = "checkoutctl migrate run"


class RedisLoading(RedisUnavailable):
    """Redis has been started and still reads its data; it tells about itself, and serves nothing yet."""

    default_hint = "checkoutctl doctor --only loading"


class TooManyClients(RedisUnavailable):
    """Redis is well, and has as many clients as it may have (maxclients): it turns every new one away."""

    default_hint = "checkoutctl doctor --only connect"


class WrongServer(RedisUnavailable):
    """The program at Redis' address is not the one that the settings describe: no Redis, or a node of a cluster.

    Nor is a server whose replies have other types than their commands'.
    """

    exit_code = ExitCode.CONFIGURATION


class ReplyTooLarge(RedisUnavailable):
    """A server sent more in one exchange than any answer to us can be; nothing else is known to be wrong with it."""

    default_hint = "checkoutctl memory families --biggest 10"


class SlotMoved(RedisUnavailable):
    """A session's key has moved to another server of the cluster while it was written."""


class RedisRefusing(RedisUnavailable):
    """Redis answers, and refuses this: out of memory, read-only, a failed save, or another error of its own."""


class SlotMoving(RedisRefusing):
    """A session's slot moves between two servers of a cluster now: nothing was done, and both servers are well."""

    exit_code = ExitCode.TRY_AGAIN
    default_hint = "run the command again"


class CommandUnknown(RedisRefusing):
    """The server has no such command: renamed away, removed by a provider, or too new for this server."""

    default_hint = "checkoutctl doctor"

    def __init__(self, message: str, *, command: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.command = command


class RedisInsufficient(RedisRefusing):
    """Redis answers, and lacks a command without which the store can keep no session there."""

    default_hint = "checkoutctl doctor --only requirements"


class RedisPoolExhausted(RedisUnavailable):
    """All of this process's own connections are in use; it says nothing about the server."""


class DatabaseUnavailable(TierUnavailable):
    """The database is away, full or read-only."""


class StatementRefused(DatabaseUnavailable):
    """The database answers, and refuses this statement; others may do."""


class DatabaseBusy(StatementRefused):
    """The database answers, and this statement waited too long for a lock, its turn, or a connection: try it again."""

    exit_code = ExitCode.TRY_AGAIN
    default_hint = "run the command again"


class DatabasePoolExhausted(DatabaseBusy):
    """All of this process's own connections are in use; it says nothing about the server."""


class ConnectionLost(DatabaseUnavailable):
    """One connection ended within a transaction, closed by the server or on the way; another one may work."""

    default_hint = "run the command again"


class NotStorable(StatementRefused):
    """The database answers, and cannot hold or return this very text: its encoding lacks a character, say."""

    exit_code = ExitCode.CONFIGURATION
    default_hint = "checkoutctl doctor --only database-encoding"


class DatabaseNotReady(DatabaseUnavailable):
    """There is a database, or could be one, and our tables are not in it."""

    default_hint = "checkoutctl setup"


class SchemaOutdated(DatabaseNotReady):
    """The database's tables are those of an older program; they serve, and miss what was added since."""


class DurabilityUnavailable(CheckoutError):
    """What is left could not keep the write as durably as the caller insists; nothing was written."""

    exit_code = ExitCode.TRY_AGAIN
    default_hint = "checkoutctl doctor"


class WrongClock(CheckoutError):
    """The clocks of this machine and of its servers differ: what has ended cannot be told; nothing was removed."""

    exit_code = ExitCode.TRY_AGAIN
    default_hint = "checkoutctl doctor --only clock,database-clock"


class Locked(CheckoutError):
    """Another process is doing this very thing now."""

    exit_code = ExitCode.TRY_AGAIN
    default_hint = "checkoutctl doctor --only job-locks"

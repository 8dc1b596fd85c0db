"""Can the database take over, and does it hold what it should?"""

from __future__ import annotations

from checkout_cli.checks import Finding, Skip, crit, ok, warn, warn_if
from checkout_cli.commands.doctor.check import Group, Need, check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.doctor.sample import to_read
from checkout_cli.commands.doctor.sessions import SAMPLING, shortened
from checkout_cli.config.fixes import psql
from checkout_cli.errors import CheckoutError, DatabaseDenied, DatabaseUnavailable, ReadOnlyAccount, TablesRefused
from checkout_cli.store.database.inspection import encodings, missing_expiry_index, sqlite_space
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.database_only import PUBLISH
from checkout_cli.typed import typed
from checkout_cli.units import size

SLOW = 0.1
"""Seconds for the simplest question."""
OLD = 3_600_000
"""Milliseconds since its end after which a row should have been removed."""
MANY = 10_000
COMPARED = 200
LITTLE_DISK, PLENTY, NO_DISK = 0.05, 10 << 30, 100 << 20
"""What should be free of a disk: this share of it, or these bytes of a large one; the last are as good as none."""
UNICODE, UNCHECKED = "UTF8", "SQL_ASCII"
"""PostgreSQL's names of encodings: of the one that has every character, and of none at all."""
MUCH_UNUSED, WORTH_A_WORD = 0.5, 100 << 20


@check("database", Group.DATABASE)
def database(context: DoctorContext) -> Finding:
    """The database answers, and has all its tables.

    It issues the versions of sessions, and serves them alone while Redis is away.
    """
    try:
        context.store.database.ping()  # connects
        latency = context.store.database.ping()
        outdated = context.store.database.check_schema()
        complete = context.store.database.schema_present()
    except (DatabaseUnavailable, DatabaseDenied, TablesRefused) as away:
        return crit(str(away), away.hint)
    if outdated is not None:
        return warn(str(outdated), outdated.hint)
    if not complete:
        return crit("it lacks some of its tables", "checkoutctl setup")
    spent = latency * 1000
    fix = "look at what else it does now"
    return warn_if(latency > SLOW, f"answers in {spent:.2f} ms", fix, latencyMs=round(spent, 3))


@check("database-write", Group.DATABASE, Need.DATABASE)
def database_write(context: DoctorContext) -> Finding:
    """The database can be written.

    A row and its deletion are committed together, so nothing is left of them. Where a lock, a full disk or a read-only
    database refuses that, the newest writes are in Redis alone.
    """
    try:
        context.prove_write()
    except ReadOnlyAccount as error:
        raise Skip(f"{error}: {error.hint}") from error
    except DatabaseDenied as error:
        return crit(str(error), error.hint)
    except CheckoutError as error:
        refused = error
    else:
        return ok("a row was written and deleted")
    path = context.store.database.sqlite_path
    if path is None:
        statements = ("SHOW transaction_read_only", "SELECT pg_is_in_recovery()")
        return crit(f"{refused}; its log and its disk may say more", psql(context.settings, *statements))
    look = typed("ls -l {}; df -h {}; fuser -v {}", path, path, path)
    return crit(str(refused), look)


@check("database-encoding", Group.DATABASE, Need.DATABASE)
def database_encoding(context: DoctorContext) -> Finding:
    """The database can hold every character.

    In an encoding such as LATIN1, a session with a character that it lacks stays in Redis alone. In SQL_ASCII nothing
    is checked: what another program writes there may be no text.
    """
    found = encoding_finding(context.store.database)
    if found is None:
        raise Skip("SQLite holds every character")
    return found


def encoding_finding(database: DatabaseTier) -> Finding | None:
    """What a PostgreSQL's encodings mean for sessions; ``None`` for SQLite."""
    found = encodings(database)
    if found is None:
        return None
    told = {"serverEncoding": found.server, "clientEncoding": found.client}
    if found.client != UNICODE:
        pooler = "look at the pooler between: ours is asked for when we connect"
        return crit(f"what is sent and received is {found.client}, and not {UNICODE}", pooler, **told)
    anew = f"createdb --encoding={UNICODE} --template=template0 NAME, and DATABASE_URL to it"
    if found.server == UNCHECKED:
        return warn(f"its encoding is {UNCHECKED}: what other programs write there may be no text", anew, **told)
    if found.server != UNICODE:
        lost = "sessions with characters that it lacks stay in Redis alone"
        return crit(f"its encoding is {found.server}: {lost}", anew, **told)
    return ok(f"its encoding is {found.server}", **told)


@check("expiry-index", Group.DATABASE, Need.DATABASE)
def expiry_index(context: DoctorContext) -> Finding:
    """Expired rows can be found without reading all of them.

    Without its index on expires_at every clean-up and every list reads the whole table.
    """
    if statement := missing_expiry_index(context.store.database):
        return warn("checkoutctl_sessions has no index on expires_at", statement)
    return ok("expires_at is indexed")


@check("expired-rows", Group.DATABASE, Need.DATABASE)
def expired_rows(context: DoctorContext) -> Finding:
    """Expired rows do not pile up.

    Rows that ended more than an hour ago. Counted up to ten thousand.
    """
    number = len(context.store.database.due(context.now() - OLD, MANY + 1))
    if number > MANY:
        return warn(f"more than {MANY:,} rows ended over an hour ago", "checkoutctl cleanup --expired", rows=number)
    return ok(f"{number:,} rows ended over an hour ago", rows=number)


@check("drift", Group.DATABASE, Need.REDIS, Need.DATABASE, *SAMPLING)
def drift(context: DoctorContext) -> Finding:
    """Redis and the database have the same versions.

    A copy that is older than its row is served to shoppers if it was published to this very server and nobody waits
    to publish the row again; one that a restart or a failover brought back is not, because its stamp is another
    server's. One that is newer than its row, without being marked as such, means that the database was set back, as by
    an old backup.
    """
    ids = to_read(context, COMPARED)
    if not ids:
        raise Skip("no session in Redis can be compared")
    older, newer = _apart(context, ids)
    if older or newer:  # they may have been written while we looked
        older, newer = _apart(context, [*older, *newer])
    waiting = {row.checkout_id for row in context.store.database.pending(MANY)} if older else set()
    forgotten = [name for name in older if name not in waiting]
    numbers = {"sampled": len(ids), "older": len(older), "newer": len(newer)}
    if newer:
        evidence = f"{len(newer)} of {len(ids)} sampled are newer in Redis than in the database ({shortened(newer)})"
        return crit(f"{evidence}: was it restored from a backup?", "checkoutctl sync --dry-run", **numbers)
    if forgotten:
        named = shortened(forgotten)
        evidence = f"{len(forgotten)} of {len(ids)} sampled are served though they are older than their row ({named})"
        return warn(evidence, PUBLISH, **numbers)
    return ok(f"{len(older)} of {len(ids)} sampled are older in Redis, and wait to be published", **numbers)


def _apart(context: DoctorContext, ids: list[str]) -> tuple[list[str], list[str]]:
    """Those whose copy in Redis is trusted and older than the row, and those whose copy is newer."""
    redis = context.store.redis
    looks = redis.look(ids)  # before the rows, which each write reaches first: so a row can only be newer
    rows = context.store.database.read_many(ids)
    older, newer = [], []
    for name, look in zip(ids, looks, strict=True):
        copy, row = look.copy, rows.get(name)
        if copy is None or row is None or copy.is_dirty or copy.is_external:
            continue  # only our own clean copies have a version to compare
        if copy.version > row.version:
            newer.append(name)
        elif copy.version < row.version and copy.identity == redis.last_identity(name):
            older.append(name)
    return older, newer


@check("database-space", Group.DATABASE, Need.DATABASE)
def database_space(context: DoctorContext) -> Finding:
    """The database has room, and no large holes.

    For a SQLite file only: the room on its disk, and the pages that a clean-up has left empty in it.
    """
    space, path = sqlite_space(context.store.database), context.store.database.sqlite_path
    if space is None or path is None:
        raise Skip("no SQLite file")
    try:
        disk = context.machine.room(path.parent)
    except OSError as error:
        raise Skip(f"its disk cannot be looked at: {error.strerror or error}") from error
    numbers = {"fileBytes": space.size, "freeBytes": space.free, "diskFreeBytes": disk.free}
    evidence = f"{size(space.size)}, {size(space.free)} of it empty; {size(disk.free)} free on its disk"
    make_room = typed("df -h {}", path.parent)
    if disk.free < NO_DISK:
        return crit(evidence, make_room, **numbers)
    if disk.free < min(LITTLE_DISK * disk.total, PLENTY):
        return warn(evidence, make_room, **numbers)
    has_holes = space.free > max(MUCH_UNUSED * space.size, WORTH_A_WORD)
    return warn_if(has_holes, evidence, typed("sqlite3 {} VACUUM", path), **numbers)

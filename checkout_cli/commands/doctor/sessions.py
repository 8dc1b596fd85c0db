"""Are the sessions as they should be: alive for a while, listed, readable, and the same in both tiers?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from checkout_cli.checks import Finding, Skip, crit, ok, warn, warn_if
from checkout_cli.commands.doctor.check import Group, Need, check
from checkout_cli.commands.doctor.context import DoctorContext, ago
from checkout_cli.commands.doctor.sample import index_layout, sampled_entries, sampled_sessions, to_read
from checkout_cli.commands.sync.sync import pending_counts
from checkout_cli.config.variables import without_password
from checkout_cli.errors import DatabaseUnavailable, WrongKeyType
from checkout_cli.files.last_look import Reading
from checkout_cli.files.own_traces import is_extended
from checkout_cli.keys import INDEX, INDEX_BESIDE
from checkout_cli.privacy.personal_ids import id_beginning
from checkout_cli.servers.memory import Memory
from checkout_cli.store.backlog import MOST_COUNTED, Backlog
from checkout_cli.store.database_only import PUBLISH, database_only
from checkout_cli.store.protocol.value import Kind
from checkout_cli.store.redis.index_place import Layout, Place

_PLACE = ("ours:type", "aside:type", "index:zrange")
SAMPLING = ("dbsize", "randomkey", "scan", "sessions:pttl,strlen,get", *_PLACE, "ours:zmscore", "sets:smismember")
LATE = 1.05
"""A session may live so many times its lifetime; ours live exactly that long after each read."""
MANY_DANGLING = 0.01
MANY_LOST = 0.1
"""Of the sampled sessions; fewer may be those that an older program has deleted."""
LARGE = 100_000
"""Bytes."""
READ = 200
"""Values that are read."""
PATIENCE = 60_000
"""Milliseconds for which a write may wait for the other tier before that is worth a warning."""
SAME_TIME, MANY_AT_ONCE, ENOUGH = 10_000, 0.20, 100
"""Milliseconds in which sessions end together, which share of them is too many, and of how many that says anything."""


_CONFLICTS = "conflicts"
_ELSEWHERE = f"{{{INDEX}}}:other"
"""Where another program's key is kept; in the same slot, so that a cluster can rename it."""


def shortened(ids: Sequence[str]) -> str:
    """The beginnings of the first of some ids: enough to find them, and not to use them."""
    return ", ".join(map(id_beginning, ids[:3]))


@check("session-ttl", Group.SESSIONS, Need.REDIS, *SAMPLING)
def session_ttl(context: DoctorContext) -> Finding:
    """Every session has an end.

    A key without a time to live stays for ever, with a shopper's data in it. One that lives much longer than
    CHECKOUT_SESSION_TTL was written by another program; one that `sessions extend` gave its end is not counted.
    """
    sampled = sampled_sessions(context)
    endless = [session.checkout_id for session in sampled if session.ttl == -1]
    longest = context.settings.session_ttl * 1000 * LATE
    now = context.now()
    late = [
        session.checkout_id
        for session in sampled
        if session.ttl > longest and not is_extended(session.checkout_id, now + session.ttl, context.state)
    ]
    numbers = {"sampled": len(sampled), "withoutTtl": len(endless), "tooLong": len(late)}
    looked = f"of {len(sampled):,} sampled"
    if endless:
        fix = "checkoutctl sessions index repair --fix-ttl"
        return crit(f"{len(endless):,} {looked} have no time to live ({shortened(endless)})", fix, **numbers)
    if late:
        ttl = f"CHECKOUT_SESSION_TTL, {context.settings.session_ttl:.0f} s"
        evidence = f"{len(late):,} {looked} live longer than {ttl} ({shortened(late)})"
        return warn(evidence, "checkoutctl config show", **numbers)
    return ok(f"none {looked} is without one", **numbers)


@check("redis-emptied", Group.SESSIONS, Need.REDIS, Need.DATABASE, "info", "sessions:exists,pttl")
def redis_emptied(context: DoctorContext) -> Finding:
    """Redis has the sessions that it had.

    After FLUSHALL, a restart without data, or evictions, sessions are in the database only: each read asks it, and a
    failure of the database loses them. A read publishes its own session again; `migrate run` publishes all of them.
    Looked for among the hundred that end first.
    """
    if not context.settings.enable_checkout_sessions:
        raise Skip("no sessions are kept in Redis (REDIS_ENABLE_CHECKOUT_SESSIONS is false)")
    now, store = context.now(), context.store
    found = database_only(store.redis, store.database, store.index, now)
    numbers = {"lookedAt": found.looked_at, "databaseOnly": found.number}
    if not found.number:
        return ok(f"none of {found.looked_at:,} that the database has is missing", **numbers)
    uptimes = [server.info().integer("uptime_in_seconds") or 0 for server in context.servers]
    evidence = found.in_words(now, min(uptimes, default=None))
    full = (Memory.of(server.place, server.info()).before_filling for server in context.servers)
    fix = next(filter(None, full), PUBLISH)
    if found.is_loss:
        return crit(evidence, fix, **numbers)
    return warn_if(found.number > MANY_LOST * found.looked_at, evidence, fix, **numbers)


@check("index-kind", Group.SESSIONS, Need.REDIS, *_PLACE)
def kind_of_index(context: DoctorContext) -> Finding:
    """The index lies where it should.

    An older program keeps a SET of ids at checkout:index. It stays for as long as that program is in use, and ours lies
    beside it: both are kept. Once the program is retired, `sessions index adopt` puts ours there. Anything else that is
    there is another program's: it is left alone.
    """
    try:
        layout = index_layout(context)
    except WrongKeyType as foreign:
        return crit(str(foreign), f"redis-cli RENAMENX {INDEX_BESIDE} {_ELSEWHERE}; checkoutctl cleanup --expired")
    if layout.place is Place.BESIDE_OTHER:
        fix = f"redis-cli RENAMENX {INDEX} {_ELSEWHERE}; checkoutctl sessions index adopt"
        return warn(f"{INDEX} holds another program's {layout.kind}, left alone; our index lies beside it", fix)
    if layout.place is Place.BESIDE_SET:
        return _beside_a_set(context, layout)
    if layout.others:
        return warn("an adoption was interrupted", "checkoutctl sessions index adopt")
    if layout.has_ours:
        return ok("a sorted set, at its own place")
    if sampled_sessions(context):
        return warn("there is none, and there are sessions", "checkoutctl cleanup --expired")
    return ok("none, and no sessions")


def _beside_a_set(context: DoctorContext, layout: Layout) -> Finding:
    there = "an older program's SET" if layout.kind == "set" else "nothing, where an older program's SET was"
    try:
        seen_at = context.store.external.seen_lately(context.store.clock.wall())
    except DatabaseUnavailable:
        return ok(f"{INDEX} holds {there}, and ours lies beside it; when that program was seen last is not known now")
    if seen_at is None:
        return warn(f"{INDEX} holds {there}; that program was not seen for a day", "checkoutctl sessions index adopt")
    seen = ago((context.now() - seen_at) / 1000)
    return ok(f"{INDEX} holds {there}, and ours lies beside it; that program was seen {seen} ago")


@check("index-dangling", Group.SESSIONS, Need.REDIS, "ours:zrandmember", *SAMPLING)
def index_dangling(context: DoctorContext) -> Finding:
    """The index lists no sessions that are gone.

    An entry whose moment has come and whose key is gone waits for the next clean-up, and is not counted here. One that
    should still be alive was deleted, evicted or lost with a restart.
    """
    entries = sampled_entries(context)
    if not entries:
        raise Skip("the index is empty")
    now = context.now()
    due = sum(entry.score <= now for entry in entries)
    dangling = [entry.checkout_id for entry in entries if entry.ttl == -2 and entry.score > now]
    numbers = {"sampled": len(entries), "dangling": len(dangling), "due": due}
    evidence = f"{len(dangling):,} of {len(entries):,} sampled entries have no key; {due:,} are due for a clean-up"
    if len(dangling) > MANY_DANGLING * len(entries):
        return warn(f"{evidence} ({shortened(dangling)})", "checkoutctl sessions index repair", **numbers)
    return ok(evidence, **numbers)


@check("index-missing", Group.SESSIONS, Need.REDIS, *SAMPLING)
def index_missing(context: DoctorContext) -> Finding:
    """The index lists every session.

    What it lacks is found by no list by expiry and no clean-up. Other programs may leave it out; a clean-up enters it.
    """
    sampled = sampled_sessions(context)
    if index_layout(context).is_empty:
        raise Skip("there is no index")
    missing = [session.checkout_id for session in sampled if not session.indexed]
    numbers = {"sampled": len(sampled), "missing": len(missing)}
    evidence = f"{len(missing):,} of {len(sampled):,} sampled sessions are not listed"
    if missing:
        evidence += f" ({shortened(missing)})"
    return warn_if(missing, evidence, "checkoutctl cleanup --expired", **numbers)


@check("payload", Group.SESSIONS, Need.REDIS, *SAMPLING)
def payload(context: DoctorContext) -> Finding:
    """Sessions can be read, and are of a reasonable size.

    A value that is no JSON object, or a key of another type, is a checkout that nobody can go on with. One of more
    than 100 kB slows down everybody who shares the server.
    """
    sampled = sampled_sessions(context)
    foreign = [session.checkout_id for session in sampled if session.size is None]
    large = [session.checkout_id for session in sampled if (session.size or 0) > LARGE]
    ids = to_read(context, READ)
    looks = dict(zip(ids, context.store.redis.look(ids), strict=True))
    corrupt = [name for name, look in looks.items() if look.copy is not None and look.copy.kind is Kind.UNREADABLE]
    numbers = {"sampled": len(sampled), "wrongType": len(foreign), "corrupt": len(corrupt), "large": len(large)}
    looked = f"of {len(sampled):,} sampled, {len(looks):,} of them read"
    if foreign or corrupt:
        named = shortened([*foreign, *corrupt])
        evidence = f"{len(foreign)} of another type and {len(corrupt)} corrupt {looked} ({named})"
        return crit(evidence, "checkoutctl sessions list --tier redis --status unreadable", **numbers)
    if large:
        evidence = f"{len(large)} {looked} have more than {LARGE // 1000} kB ({shortened(large)})"
        return warn(evidence, "checkoutctl memory families --biggest 20", **numbers)
    return ok(f"none unreadable or large {looked}", **numbers)


@check("pending", Group.SESSIONS, Need.REDIS, "pending:scard,sscan")
def pending(context: DoctorContext) -> Finding:
    """No session waits for the other tier.

    After an outage, whatever uses the store syncs sessions as it meets them; `sync` does all of it. With
    CHECKOUT_DURABILITY=redis some always wait for the database, none of them for a minute. Nor does a version that
    Redis missed wait longer for it, where sessions are used. What Redis alone has is critical at once where the
    database takes no writes.
    """
    counts, now = pending_counts(context.store), context.now()
    if counts.to_database and (refused := context.refused_write()) is not None:
        oldest = f", the oldest for {ago((now - counts.database_since) / 1000)}" if counts.database_since else ""
        evidence = f"{counts.to_database:,} are only in Redis{oldest}, and the database takes no writes: {refused}"
        return crit(evidence, "checkoutctl doctor --only database", toDatabase=counts.to_database)
    if counts.to_redis is None or counts.to_database is None:
        raise Skip("what waits cannot be counted now")
    backlog = Backlog(context.store.redis, context.store.database, session_ttl=context.settings.session_ttl)
    late = counts.to_redis and backlog.for_redis(now, grace=PATIENCE, limit=MOST_COUNTED).number
    if counts.to_database and not late:
        since = backlog.for_database().since
        late = since is None or now - since >= PATIENCE
    evidence = f"{counts.to_redis:,} wait for Redis, {counts.to_database:,} for the database"
    return warn_if(late, evidence, "checkoutctl sync", toRedis=counts.to_redis, toDatabase=counts.to_database)


@check("conflicts", Group.SESSIONS, Need.DATABASE)
def conflicts(context: DoctorContext) -> Finding:
    """No session waits for a person to decide.

    A write that only Redis had, or an external writer's, could not stand as it was: the session had changed meanwhile,
    or its payment status may not follow. Both contents are kept until somebody settles it.
    """
    number = context.store.flush_log.conflict_count()
    evidence = f"{number:,} writes could not stand" if number else "none"
    return warn_if(number, evidence, "checkoutctl sync --conflicts", conflicts=number)


@check("stampede", Group.SESSIONS, Need.REDIS, *SAMPLING)
def stampede(context: DoctorContext) -> Finding:
    """Sessions do not all end in the same moment.

    Where a fifth of them ends within ten seconds, as after a bulk load, all shoppers come back at once.
    """
    ttls = sorted(session.ttl for session in sampled_sessions(context) if session.ttl > 0)
    if len(ttls) < ENOUGH:
        raise Skip(f"only {len(ttls)} sessions with an end")
    most, first = max((bisect_left(ttls, ttl + SAME_TIME) - place, ttl) for place, ttl in enumerate(ttls))
    share = most / len(ttls)
    evidence = f"{share:.0%} of {len(ttls):,} sampled end within the same ten seconds"
    if share > MANY_AT_ONCE:
        evidence += f", in {ago(first / 1000)}"
    fix = "let the shop vary lifetimes a little where it writes many at once"
    return warn_if(share > MANY_AT_ONCE, evidence, fix, share=round(share, 3))


@check("external-writers", Group.SESSIONS, Need.DATABASE)
def external_writers(context: DoctorContext) -> Finding:
    """What external writers write can be taken in.

    Other programs may write sessions on the same Redis. What they write becomes the next version, is merged, or goes to
    the conflict log: where the session had changed meanwhile, where its payment status may not follow, and, but for a
    final payment, wherever they leave out the field _store that they have read. While one was seen within a day, a
    shop's read keeps expiresAt true for it. A session whose key is missing comes back from the database, because an
    eviction looks like a deletion; with CHECKOUT_EXTERNAL_DELETES=honour a proven deletion stands.
    """
    writes = context.store.external.writes()
    if not writes.seen_at:
        return ok("none was seen", takenIn=0, conflicts=0, refilled=0, deleted=0, lastSeenSeconds=None)
    seconds = (context.now() - writes.seen_at) / 1000
    parts = [f"{writes.taken_in:,} writes taken in", f"{writes.conflicts:,} of them conflicts"]
    if writes.refilled:
        parts.append(f"{writes.refilled:,} sessions with a missing key came back from the database")
    if writes.deleted:
        parts.append(f"{writes.deleted:,} of their deletions stand")
    evidence = f"last seen {ago(seconds)} ago; {', '.join(parts)}"
    place = f"external writers, {without_password(context.settings.database_url)}"
    context.readings[place] = Reading(context.now(), "", {_CONFLICTS: float(writes.conflicts)})
    new, since = context.compared(place, context.readings[place], _CONFLICTS)
    if new:
        evidence = f"{new:,.0f} new {'conflict' if new == 1 else 'conflicts'} {since}; {evidence}"
    return warn_if(
        new,
        evidence,
        "checkoutctl sync --conflicts",
        takenIn=writes.taken_in,
        conflicts=writes.conflicts,
        refilled=writes.refilled,
        deleted=writes.deleted,
        lastSeenSeconds=round(seconds),
    )

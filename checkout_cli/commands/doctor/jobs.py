"""Do the jobs run that somebody has to run, and do the figures that people steer by exist?"""

from __future__ import annotations

from checkout_cli.checks import Finding, Skip, crit, ok, warn, warn_if
from checkout_cli.commands.cron.crontab import NOT_INSTALLED, installed
from checkout_cli.commands.cron.jobs import JOBS, Setting, block
from checkout_cli.commands.cron.runs import installed_at
from checkout_cli.commands.doctor.check import Group, Need, check
from checkout_cli.commands.doctor.context import DoctorContext, ago
from checkout_cli.domain.statistics import Statistics
from checkout_cli.errors import CheckoutError, WrongKeyType
from checkout_cli.jobs.clocks import CLOCK_CHECKS
from checkout_cli.jobs.heartbeat import last_beat
from checkout_cli.jobs.job_lock import CLEANUP, TIME_TO_LIVE, is_owner
from checkout_cli.keys import heartbeat_key, lock_key
from checkout_cli.store.database.inspection import created_lately
from checkout_cli.typed import typed

OVERDUE, LONG_OVERDUE = 2 * 3600, 86_400
"""Seconds since the last clean-up: twice an hour, for who runs it hourly, and a day."""
CLEAN_UP = "checkoutctl cleanup --expired"
LOW_HIT_RATE = 0.8
ENOUGH_READS = 100
LOOKED_BACK = 15
"""Minutes of a cache's reads."""
HOUR = 3_600_000
AMONG = 1000
"""Rows that are searched for new sessions."""


@check("cleanup-overdue", Group.JOBS, Need.REDIS, "jobs:getrange")
def cleanup_overdue(context: DoctorContext) -> Finding:
    """The clean-up runs.

    Redis ends sessions by itself; their index entries and rows stay until a clean-up removes them. Each run leaves
    the time of its end in checkout:job:cleanup, for 30 days. What counts is the last run that finished; an end in the
    future is nobody's, and would hide that none runs.
    """
    if not context.settings.enable_checkout_sessions:
        raise Skip("no sessions are kept in Redis (REDIS_ENABLE_CHECKOUT_SESSIONS is false)")
    try:
        last = last_beat(context.store, CLEANUP)
    except WrongKeyType:
        last = None
    now = context.now()
    if last is None:
        since = (now - installed_at(context.state)) / 1000
        if 0 <= since <= JOBS[CLEANUP].overdue_after:
            return ok(f"no run is remembered; cron's jobs were installed {ago(since)} ago")
        return warn(f"no run is remembered{_by_hand(context)}", _fix(context))
    if last.is_forged(now):
        key = heartbeat_key(CLEANUP)
        evidence = f"{key} says that a run ended at {last.finished_at}, in the future: forged, or by a wrong clock"
        return crit(evidence, f"checkoutctl doctor --only {CLOCK_CHECKS}; {CLEAN_UP}", finished=last.finished)
    age = max((now - last.completed) / 1000, 0.0)
    if last.completed <= 0:
        age, evidence = max((now - last.moment) / 1000, 0.0), "no run is remembered that finished"
    elif last.finished:
        evidence = f"the last run ended {ago(age)} ago"
    else:
        evidence = f"the last run that finished ended {ago(age)} ago"
    numbers = {"ageSeconds": int(age), "finished": last.finished}
    if age > LONG_OVERDUE:
        return crit(f"{evidence}{_by_hand(context)}", _fix(context), **numbers)
    if age > OVERDUE:
        return warn(f"{evidence}{_by_hand(context)}", _fix(context), **numbers)
    return warn_if(not last.finished, evidence, CLEAN_UP, **numbers)


def _crontab(context: DoctorContext) -> str | None:
    """The state of our lines in the crontab of this user; ``None`` where there is no crontab."""
    try:
        found = installed(block(Setting.here(context.directory)))
    except CheckoutError:  # its marks are damaged, or the directory's name is none for cron
        return None
    return found if found == NOT_INSTALLED or found.startswith("installed") else None


def _by_hand(context: DoctorContext) -> str:
    found = _crontab(context)
    if found is None:
        return "; there is no crontab here: checkoutctl cron print --format systemd"
    return "" if found == NOT_INSTALLED else "; its lines are in the crontab: does cron run?"


def _fix(context: DoctorContext) -> str:
    """One run now, and by cron from now on."""
    return f"checkoutctl cron install && {CLEAN_UP}" if _crontab(context) == NOT_INSTALLED else CLEAN_UP


@check("job-locks", Group.JOBS, Need.REDIS, "locks:pttl,getrange")
def job_locks(context: DoctorContext) -> Finding:
    """No lock of a job is left over.

    A lock lives for 30 seconds after its holder's last sign of life. One that lives longer, or names no process, was
    not made by this program, and keeps every clean-up away.
    """
    key = lock_key(CLEANUP)
    try:
        ttl, owner = context.store.redis.lock_state(CLEANUP)
    except WrongKeyType:
        ttl, owner = -1, None
    if ttl == -1:
        return crit(f"{key} has no end: no clean-up can run", typed("redis-cli DEL {}", key))
    if ttl == -2:
        return ok("no job runs now")
    if ttl > TIME_TO_LIVE:
        return crit(f"{key} lives for {ttl / 1000:,.0f} s more: not one of ours", typed("redis-cli DEL {}", key))
    if owner is not None and not is_owner(owner.decode(errors="replace")):
        known = f"a name of {len(owner):,} bytes that is not one of ours"
        return crit(f"{key} is held by {known}", typed("redis-cli DEL {}", key))
    return ok("a clean-up runs now")


@check("statistics-gap", Group.JOBS, Need.REDIS, Need.DATABASE, "minutes:hlen,hgetall,memory|usage")
def statistics_gap(context: DoctorContext) -> Finding:
    """What the database has of the last hour was also counted.

    Statistics are counted by the program that writes. Sessions that other programs created, or that were written while
    Redis was away, are in no minute of them.
    """
    settings = context.settings
    if not (settings.enable_statistics and settings.enable_checkout_sessions):
        raise Skip("statistics are switched off (REDIS_ENABLE_STATISTICS)")
    now = context.now()
    counted = Statistics(context.store).read(60, now).total("created") or 0
    if counted:
        return ok(f"{counted:,} creations were counted in the last hour", counted=counted)
    known = created_lately(context.store.database, now - HOUR, AMONG)
    if not known:
        return ok(f"none of the {AMONG:,} sessions that end last was created in the last hour", counted=0, created=0)
    many = f"{known:,}{' or more' if known == AMONG else ''}"
    evidence = f"{many} sessions were created in the last hour, and none was counted"
    return warn(evidence, "checkoutctl stats --since 60m", counted=0, created=known)


@check("cache-hit-rate", Group.JOBS, Need.REDIS, "minutes:hlen,hgetall,memory|usage")
def cache_hit_rate(context: DoctorContext) -> Finding:
    """Most reads of the delivery and coupon caches are hits.

    Over the last 15 minutes, where there were a hundred reads at least. Below 80 % a cache is cold, its lifetime too
    short, or it is invalidated too often.
    """
    caches = Statistics(context.store).caches(LOOKED_BACK, context.now())
    asked = {name: counts for name, counts in caches.items() if counts.reads >= ENOUGH_READS}
    if not asked:
        raise Skip(f"no cache had {ENOUGH_READS} reads in the last {LOOKED_BACK} minutes")
    rates = {name: counts.rate("hit") or 0.0 for name, counts in asked.items()}
    evidence = ", ".join(f"{name} {rate:.1%} of {asked[name].reads:,}" for name, rate in rates.items())
    numbers = {name: round(rate, 4) for name, rate in rates.items()}
    return warn_if(min(numbers.values()) < LOW_HIT_RATE, evidence, "checkoutctl cache stats", **numbers)

from checkout_cli.commands.needs import COUNT, ENTER, IDENTITY, JOBS, LOCK, LOOK, SESSIONS, Entry, on, plain
from checkout_cli.commands.record import Command, Use
from checkout_cli.commands.sessions.record import INDEX_REPAIR
from checkout_cli.keys import PENDING

_ORPHANS = (LOCK | LOOK | plain("scan")) | on(SESSIONS, "evalsha get del") | (ENTER | on(PENDING, "sscan evalsha srem"))
CLEANUP = Entry(COUNT | INDEX_REPAIR | _ORPHANS, IDENTITY | on(JOBS, "get set"))

RECORD = Command(
    "cleanup",
    place=33,
    summary="Remove what has expired from the index and the database.",
    example="checkoutctl cleanup --expired --quiet --max-seconds 50",
    uses=(
        Use("--dry-run", "reader", Entry(COUNT | plain("time"), IDENTITY), run="--expired --dry-run"),
        Use("", "operator", CLEANUP, run="--expired"),
    ),
)

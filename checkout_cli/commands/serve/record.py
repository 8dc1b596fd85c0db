from checkout_cli.commands.health.record import HEALTH
from checkout_cli.commands.needs import COUNT, IDENTITY, JOBS, LIST, LOCK, SESSIONS, STATISTICS, Entry, on
from checkout_cli.commands.record import Command, Use
from checkout_cli.commands.sessions.record import INDEX_REPAIR

RECORD = Command(
    "serve",
    place=70,
    summary="Answer health checks, management requests and Prometheus.",
    example="checkoutctl serve --port 8642",
    uses=(
        Use(
            "",
            "operator",
            Entry(
                (HEALTH.needs | LIST | COUNT | LOCK | STATISTICS.needs | on(SESSIONS, "get mget") | on(JOBS, "get set"))
                | INDEX_REPAIR,
                HEALTH.helps | IDENTITY,
            ),
            run="--print-rules",
        ),
    ),
)

from checkout_cli.commands.needs import COUNT, IDENTITY, JOBS, WAITING, Entry, on, plain
from checkout_cli.commands.record import Command, Use
from checkout_cli.keys import LEGACY_STATS

HEALTH = Entry(plain("ping") | COUNT | WAITING, IDENTITY | on(LEGACY_STATS, "type hgetall") | on(JOBS, "get"))

RECORD = Command(
    "health",
    place=22,
    summary="Say whether sessions are served: healthy, degraded, unhealthy.",
    example="checkoutctl health --json",
    uses=(Use("", "reader", HEALTH),),
)

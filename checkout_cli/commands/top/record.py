from checkout_cli.commands.health.record import HEALTH
from checkout_cli.commands.needs import COUNT, STATISTICS, Entry
from checkout_cli.commands.record import Command, Use
from checkout_cli.commands.slowlog.record import SLOWLOG

RECORD = Command(
    "top",
    place=42,
    summary="Watch all that moves on one screen, live.",
    example="checkoutctl top --interval 5",
    uses=(Use("", "reader", HEALTH | STATISTICS | Entry(COUNT, SLOWLOG.everything), run="--once"),),
)

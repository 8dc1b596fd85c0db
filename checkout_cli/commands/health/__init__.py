from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "health",
    place=11,
    summary="Say whether sessions are served: healthy, degraded, unhealthy.",
    example="checkoutctl health --json",
    uses=(
        Use("", "reader", "COUNT WAITING", "IDENTITY REQUIREMENTS legacy:type,hlen,hgetall,memory|usage jobs:getrange"),
    ),
)

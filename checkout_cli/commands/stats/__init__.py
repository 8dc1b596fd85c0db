from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "stats",
    place=22,
    summary="Show how checkouts went in the last minutes.",
    example="checkoutctl stats --since 60m --watch 5",
    uses=(Use("", "reader", "minutes:hlen,hgetall", "IDENTITY STATUSES minutes:memory|usage", run="--by status"),),
)

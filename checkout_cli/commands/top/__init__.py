from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "top",
    place=13,
    summary="Watch all that moves on one screen, live.",
    example="checkoutctl top --interval 5",
    uses=(
        Use(
            "",
            "reader",
            "minutes:hlen,hgetall COUNT",
            "IDENTITY minutes:memory|usage",
            does=("health",),
            tries=("slowlog",),
            run="--once",
        ),
    ),
)

from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "users",
    place=21,
    summary="See how users' checkouts went of late.",
    example="checkoutctl users list",
    uses=(
        Use("list", "reader", "TRACKED scan", "IDENTITY users:memory|usage"),
        Use("show", "reader", "TRACKED scan", "IDENTITY users:memory|usage", run="user-1"),
    ),
    examples={
        "list": "checkoutctl users list --limit 200 --output csv",
        "show": "checkoutctl users show 4645c59d",
    },
)

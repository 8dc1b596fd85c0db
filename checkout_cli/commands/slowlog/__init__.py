from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "slowlog",
    place=32,
    summary="Show which commands took Redis long.",
    example="checkoutctl slowlog --limit 100",
    uses=(
        Use("", "reader", "slowlog|get", "slowlog|len config|get IDENTITY"),
        Use("--reset", "operator", "slowlog|reset", does=("slowlog",), run="--reset --yes"),
    ),
)

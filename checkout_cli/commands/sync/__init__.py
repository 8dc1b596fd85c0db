from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "sync",
    place=15,
    summary="Hand over what Redis and the database lack of each other.",
    example="checkoutctl sync --quiet --max-seconds 50",
    uses=(
        Use("--dry-run", "reader", "WAITING", "IDENTITY"),
        Use(
            "",
            "operator",
            "WAITING PUBLISH FLUSH LIST sessions:getrange",
            "COUNT IDENTITY NOTE jobs:getrange,set",
            "HAND_OVER",
        ),
    ),
)

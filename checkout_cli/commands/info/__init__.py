from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "info",
    place=31,
    summary="Show what Redis says of itself, and what that means.",
    example="checkoutctl info memory stats --diff 5",
    uses=(Use("", "reader", "info"),),
)

from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "setup",
    place=40,
    summary="Set everything up, and prove that it works.",
    example="checkoutctl setup --check",
    uses=(
        Use("--check", "reader", "ping", "IDENTITY"),
        Use("", "operator", "ping PUBLISH LOOK", "IDENTITY", run="--yes"),
    ),
)

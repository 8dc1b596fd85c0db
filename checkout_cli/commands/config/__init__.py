from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "config",
    place=42,
    summary="Show the settings, and what is wrong with them.",
    example="checkoutctl config show",
    uses=(
        Use("show", "reader"),
        Use("check", "reader"),
    ),
    examples={
        "show": "checkoutctl config show --json",
    },
)

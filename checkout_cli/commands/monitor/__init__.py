from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "monitor",
    place=34,
    summary="Watch the commands that Redis gets at this moment.",
    example="checkoutctl monitor --seconds 5 --family sessions",
    uses=(
        Use(
            "",
            "",
            "monitor",
            "IDENTITY client|list",
            no_role="MONITOR shows the values that every program on the server writes",
        ),
    ),
)

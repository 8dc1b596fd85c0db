from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "config",
    place=42,
    summary="Show and change the settings, and say what is wrong with them.",
    example="checkoutctl config show",
    uses=(
        Use("show", "reader"),
        Use("check", "reader"),
        Use("set", "operator", run="REDIS_DB=0"),
        Use("unset", "operator", run="REDIS_DB"),
    ),
    examples={
        "show": "checkoutctl config show --json",
        "set": "checkoutctl config set REDIS_PORT=6380",
        "unset": "checkoutctl config unset REDIS_PASSWORD",
    },
)

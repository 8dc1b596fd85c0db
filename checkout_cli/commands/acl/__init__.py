from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "acl",
    place=47,
    summary="Show the least rules for users of Redis; check your own.",
    example="checkoutctl acl",
    uses=(
        Use("", "reader"),
        Use("reader", "reader"),
        Use("operator", "reader"),
        Use("application", "reader"),
        Use("check", "reader", helps="multi discard IDENTITY", run="--role reader"),
    ),
    examples={
        "reader": "checkoutctl acl reader --user grafana",
        "application": "checkoutctl acl application --json",
        "check": "checkoutctl acl check --role reader",
    },
)

from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "incident",
    place=14,
    summary="Write all findings into one redacted file; compare two.",
    example="checkoutctl incident --out tonight.json",
    uses=(
        Use("", "reader", tries=("health", "doctor", "memory show", "slowlog", "latency"), run="--out -"),
        Use("diff", "reader", run="incident.json incident.json"),
    ),
    examples={
        "diff": "checkoutctl incident diff healthy.json tonight.json",
    },
)

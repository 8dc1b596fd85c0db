from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "memory",
    place=30,
    summary="See what takes Redis' memory, and limit it safely.",
    example="checkoutctl memory show",
    uses=(
        Use("show", "reader", "info", "MEASURE config|get sessions:strlen,get all:object|idletime,object|freq"),
        Use("families", "reader", "scan", "MEASURE IDENTITY"),
        Use("tune --advise", "reader", "info", "MEASURE config|get"),
        Use(
            "tune",
            "",
            "info config|get config|set",
            "config|rewrite acl|list",
            no_role="CONFIG SET, with which it applies its proposal, could also let anybody run code on the server",
        ),
    ),
    examples={
        "show": "checkoutctl memory show --json",
        "families": "checkoutctl memory families --max-load 25",
        "tune": "checkoutctl memory tune --maxmemory 256mb --policy noeviction --dry-run",
    },
)

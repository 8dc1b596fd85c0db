from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "cron",
    place=45,
    summary="Run clean-up, hand-over and health every five minutes.",
    example="checkoutctl cron install",
    uses=(
        Use("print", "reader"),
        Use("install", "reader", run="--dry-run"),
        Use("remove", "reader", run="--dry-run"),
        Use("status", "reader"),
        Use("run", "operator", does=("health", "cleanup", "sync"), run="health --jitter 0"),
    ),
    examples={
        "print": "checkoutctl cron print --format systemd",
        "install": "checkoutctl cron install --dry-run",
        "remove": "checkoutctl cron remove --yes",
        "run": "checkoutctl cron run cleanup --jitter 0",
    },
)

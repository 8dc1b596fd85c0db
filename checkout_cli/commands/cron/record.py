from checkout_cli.commands.cleanup.record import CLEANUP
from checkout_cli.commands.health.record import HEALTH
from checkout_cli.commands.record import Command, Use
from checkout_cli.commands.sync.record import SYNC

RECORD = Command(
    "cron",
    place=71,
    summary="Run clean-up, hand-over and health every five minutes.",
    example="checkoutctl cron install",
    uses=(
        Use("print", "reader"),
        Use("install", "reader", run="--dry-run"),
        Use("remove", "reader", run="--dry-run"),
        Use("status", "reader"),
        Use("run", "operator", HEALTH | CLEANUP | SYNC, run="health --jitter 0"),
    ),
    examples={
        "print": "checkoutctl cron print --format systemd",
        "install": "checkoutctl cron install --dry-run",
        "remove": "checkoutctl cron remove --yes",
        "run": "checkoutctl cron run cleanup --jitter 0",
    },
)

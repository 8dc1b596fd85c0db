from checkout_cli.commands.doctor.record import DOCTOR
from checkout_cli.commands.health.record import HEALTH
from checkout_cli.commands.latency.record import LATENCY
from checkout_cli.commands.memory.record import MEMORY
from checkout_cli.commands.needs import Entry
from checkout_cli.commands.record import Command, Use
from checkout_cli.commands.slowlog.record import SLOWLOG

RECORD = Command(
    "incident",
    place=55,
    summary="Write all findings into one redacted file; compare two.",
    example="checkoutctl incident --out tonight.json",
    uses=(
        Use("", "reader", Entry(helps=(HEALTH | DOCTOR | MEMORY | SLOWLOG | LATENCY).everything), run="--out -"),
        Use("diff", "reader", run="incident.json incident.json"),
    ),
    examples={
        "diff": "checkoutctl incident diff healthy.json tonight.json",
    },
)

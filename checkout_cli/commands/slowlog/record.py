from checkout_cli.commands.needs import IDENTITY, Entry, plain
from checkout_cli.commands.record import Command, Use

SLOWLOG = Entry(plain("slowlog|get"), plain("slowlog|len config|get") | IDENTITY)

RECORD = Command(
    "slowlog",
    place=52,
    summary="Show which commands took Redis long.",
    example="checkoutctl slowlog --limit 100",
    uses=(
        Use("", "reader", SLOWLOG),
        Use("--reset", "operator", SLOWLOG | Entry(plain("slowlog|reset")), run="--reset --yes"),
    ),
)

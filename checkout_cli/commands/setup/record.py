from checkout_cli.commands.needs import IDENTITY, LOOK, PUBLISH, Entry, plain
from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "setup",
    place=10,
    summary="Set everything up, and prove that it works.",
    example="checkoutctl setup --check",
    uses=(
        Use("--check", "reader", Entry(plain("ping"), IDENTITY)),
        Use("", "operator", Entry(plain("ping") | PUBLISH | LOOK, IDENTITY), run="--yes"),
    ),
)

from checkout_cli.commands.needs import Entry, plain
from checkout_cli.commands.record import Command, Use

LATENCY = Entry(plain("ping"), plain("info latency|latest latency|history latency|doctor config|get"))

RECORD = Command(
    "latency",
    place=53,
    summary="Measure round trips, and what makes Redis pause.",
    example="checkoutctl latency --samples 1000",
    uses=(Use("", "reader", LATENCY, run="--samples 3"),),
)

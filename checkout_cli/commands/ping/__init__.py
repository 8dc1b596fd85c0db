from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "ping",
    place=12,
    summary="Time round trips to Redis; without an answer, say what fails.",
    example="checkoutctl ping --count 10 --interval 0.2",
    uses=(Use("", "reader", "ping", run="--count 1"),),
)

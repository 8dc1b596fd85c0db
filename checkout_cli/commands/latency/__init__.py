from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "latency",
    place=33,
    summary="Measure round trips, and what makes Redis pause.",
    example="checkoutctl latency --samples 1000",
    uses=(
        Use("", "reader", "ping", "info latency|latest latency|history latency|doctor config|get", run="--samples 3"),
    ),
)

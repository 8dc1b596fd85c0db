"""``checkoutctl bench``: the specification's performance claims, measured on the user's own servers in one run."""

from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "bench",
    place=35,
    summary="Measure what Redis brings on your own servers.",
    example="checkoutctl bench --seconds 20 --shoppers 100",
    uses=(Use("", "operator", "PUBLISH HAND_OVER LOCK COUNT ping", "IDENTITY", run="--seconds 2 --shoppers 2 --yes"),),
)

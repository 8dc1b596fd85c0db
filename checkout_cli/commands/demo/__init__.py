from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "demo",
    place=41,
    summary="See it all work on a real server, without a Redis of your own.",
    example="checkoutctl demo --fast",
    uses=(Use("", "", no_role="it uses servers of its own"),),
)

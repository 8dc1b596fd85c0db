from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "help",
    place=49,
    summary="Read about a topic: durability, migration, production …",
    example="checkoutctl help durability",
    uses=(Use("", "reader"),),
)

from checkout_cli.commands.needs import FLUSH, HAND_OVER, IDENTITY, LIST, NOTE, PUBLISH, SESSIONS, WAITING, Entry, on
from checkout_cli.commands.record import Command, Use

SYNC = Entry(WAITING | PUBLISH | FLUSH | LIST | on(SESSIONS, "getrange"), IDENTITY | NOTE, HAND_OVER)

RECORD = Command(
    "sync",
    place=31,
    summary="Hand over what Redis and the database lack of each other.",
    example="checkoutctl sync --quiet --max-seconds 50",
    uses=(
        Use("--dry-run", "reader", Entry(WAITING, IDENTITY)),
        Use("", "operator", SYNC),
    ),
)

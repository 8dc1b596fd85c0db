from checkout_cli.commands.needs import ALL, IDENTITY, SESSIONS, Entry, on, plain
from checkout_cli.commands.record import Command, Use
from checkout_cli.keys import INDEX

_MEASURE = on(ALL, "memory|usage pttl") | on(INDEX, "strlen") | plain("scan dbsize randomkey client|no-touch")
MEMORY = Entry(
    plain("info"),
    _MEASURE | plain("config|get") | on(SESSIONS, "strlen get") | on(ALL, "object|idletime object|freq"),
)

RECORD = Command(
    "memory",
    place=50,
    summary="See what takes Redis' memory, and limit it safely.",
    example="checkoutctl memory show",
    uses=(
        Use("show", "reader", MEMORY),
        Use("families", "reader", Entry(plain("scan"), _MEASURE | IDENTITY)),
        Use("tune --advise", "reader", Entry(plain("info"), on(ALL, "memory|usage") | plain("scan config|get"))),
        Use(
            "tune",
            "",
            Entry(plain("info config|get config|set"), plain("config|rewrite")),
            no_role="CONFIG SET, with which it applies its proposal, could also let anybody run code on the server",
        ),
    ),
    examples={
        "show": "checkoutctl memory show --json",
        "families": "checkoutctl memory families --max-load 25",
        "tune": "checkoutctl memory tune --maxmemory 256mb --policy noeviction --dry-run",
    },
)

from checkout_cli.commands.needs import CACHES, JOBS, LISTED, LOCKS, MINUTES, OURS, SESSIONS, USERS, Entry, on, plain
from checkout_cli.commands.record import Command, Use
from checkout_cli.keys import INDEX, PENDING

DOCTOR = Entry(
    plain("ping"),
    plain("acl|list client|list cluster|info config|get dbsize info latency|latest scan slowlog|get slowlog|len time")
    | (on(LOCKS, "set get del pttl") | on(JOBS, "get"))
    | (on(SESSIONS, "get strlen pttl") | on(CACHES, "get strlen") | on(USERS, "hlen hkeys"))
    | (LISTED | on(OURS, "zcard zrandmember") | on(INDEX, "memory|usage"))
    | (on(PENDING, "scard sscan") | on(MINUTES, "hgetall")),
)

RECORD = Command(
    "doctor",
    place=20,
    summary="Examine all that checkouts depend on; say what to fix first.",
    example="checkoutctl doctor --only memory,sessions",
    uses=(Use("", "reader", DOCTOR),),
)

from checkout_cli.commands.needs import (
    COUNT,
    FLUSH,
    HAND_OVER,
    IDENTITY,
    LOCK,
    LOOK,
    MINUTES,
    NOTE,
    PUBLISH,
    SESSIONS,
    USERS,
    Entry,
    on,
    plain,
)
from checkout_cli.commands.record import Command, Use
from checkout_cli.keys import LEGACY_STATS

RECORD = Command(
    "migrate",
    place=32,
    summary="Bring sessions to Redis, or to another one, without downtime.",
    example="checkoutctl migrate plan",
    uses=(
        Use("plan", "reader", Entry(LOOK | plain("ping"), IDENTITY)),
        Use("run", "operator", Entry(LOOK | PUBLISH | LOCK | plain("ping"), IDENTITY, HAND_OVER), run="--restart"),
        Use(
            "run --to",
            "operator",
            Entry(
                (LOOK | PUBLISH | FLUSH | LOCK | COUNT | plain("ping"))
                | on(SESSIONS, "evalsha pexpire")
                | on([USERS, MINUTES, LEGACY_STATS], "hgetall pttl evalsha exists hset pexpire"),
                IDENTITY | NOTE,
                HAND_OVER,
            ),
            run="--to {other} --restart",
        ),
        Use("verify", "reader", Entry(LOOK | plain("ping"), IDENTITY)),
        Use("verify --to", "reader", Entry(LOOK | COUNT | plain("ping"), IDENTITY), run="--to {other}"),
        Use("status", "reader"),
    ),
    examples={
        "plan": "checkoutctl migrate plan --rate 500",
        "run": "checkoutctl migrate run --rate 500",
        "verify": "checkoutctl migrate verify --sample 1000",
    },
)

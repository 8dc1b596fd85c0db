from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "migrate",
    place=43,
    summary="Bring sessions to Redis, or to another one, without downtime.",
    example="checkoutctl migrate plan",
    uses=(
        Use("plan", "reader", "LOOK ping", "IDENTITY"),
        Use("run", "operator", "LOOK PUBLISH LOCK ping", "IDENTITY", "HAND_OVER", run="--restart"),
        Use(
            "run --to",
            "operator",
            "LOOK PUBLISH FLUSH LOCK COUNT ping sessions:evalsha,pexpire "
            "figures:hlen,hgetall,pttl,evalsha,exists,hset,pexpire",
            "IDENTITY NOTE figures:memory|usage",
            "HAND_OVER",
            run="--to {other} --restart",
        ),
        Use("verify", "reader", "LOOK ping", "IDENTITY"),
        Use("verify --to", "reader", "LOOK COUNT ping", "IDENTITY", run="--to {other}"),
        Use("status", "reader"),
    ),
    examples={
        "plan": "checkoutctl migrate plan --rate 500",
        "run": "checkoutctl migrate run --rate 500",
        "verify": "checkoutctl migrate verify --sample 1000",
    },
)

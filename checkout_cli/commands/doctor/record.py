from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "doctor",
    place=20,
    summary="Examine all that checkouts depend on; say what to fix first.",
    example="checkoutctl doctor --only memory,sessions",
    uses=(
        Use(
            "",
            "reader",
            "ping",
            "acl|list client|list cluster|info config|get dbsize info latency|latest scan slowlog|get slowlog|len time "
            "locks:set,get,del,pttl jobs:get LOOK caches:get,strlen users:hlen,hkeys LISTED "
            "ours:zcard,zrandmember index:memory|usage pending:scard,sscan minutes:hgetall",
        ),
    ),
)

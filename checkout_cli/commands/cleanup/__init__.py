from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "cleanup",
    place=44,
    summary="Remove what has expired from the index and the database.",
    example="checkoutctl cleanup --expired --quiet --max-seconds 50",
    uses=(
        Use("--dry-run", "reader", "COUNT time", "IDENTITY", run="--expired --dry-run"),
        Use(
            "",
            "operator",
            "COUNT INDEX_REPAIR LOCK LOOK ENTER sessions:evalsha,get,del pending:sscan,evalsha,srem scan",
            "IDENTITY jobs:getrange,set",
            run="--expired",
        ),
    ),
)

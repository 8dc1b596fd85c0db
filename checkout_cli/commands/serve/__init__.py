"""The HTTP endpoints and the metrics (extra ``[serve]``); nothing else imports what that extra brings."""

from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "serve",
    place=46,
    summary="Answer health checks, management requests and Prometheus.",
    example="checkoutctl serve --port 8642",
    uses=(
        Use(
            "",
            "operator",
            "LIST COUNT LOCK INDEX_REPAIR minutes:hlen,hgetall sessions:get jobs:getrange,set",
            "IDENTITY minutes:memory|usage",
            does=("health",),
            run="--print-rules",
        ),
    ),
)

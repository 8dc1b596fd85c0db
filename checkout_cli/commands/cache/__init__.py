from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "cache",
    place=23,
    summary="Look at, correct and invalidate what is cached.",
    example="checkoutctl cache stats",
    uses=(
        Use("stats", "reader", "minutes:hlen,hgetall", "IDENTITY minutes:memory|usage"),
        Use("delivery get", "reader", "delivery:get,getrange,strlen,pttl", "IDENTITY", run="5 20"),
        Use("delivery list", "reader", "delivery:get,getrange,strlen,pttl scan", "IDENTITY"),
        Use("delivery set", "operator", "delivery:get,getrange,strlen,pttl,set", "IDENTITY", run="7 20 1.5 --yes"),
        Use(
            "delivery invalidate",
            "operator",
            "delivery:get,getrange,strlen,pttl,evalsha,set,del SCRIPTS scan",
            "IDENTITY",
            run="--yes",
        ),
        Use("coupon get", "reader", "coupons:get,getrange,strlen,pttl", "IDENTITY", run="SAVE10"),
        Use("coupon list", "reader", "coupons:get,getrange,strlen,pttl scan", "IDENTITY"),
        Use(
            "coupon set",
            "operator",
            "coupons:get,getrange,strlen,pttl,set",
            "IDENTITY",
            run="SAVE20 - --yes",
            given='{"valid": true}',
        ),
        Use(
            "coupon invalidate",
            "operator",
            "coupons:get,getrange,strlen,pttl,evalsha,set,del SCRIPTS scan",
            "IDENTITY",
            run="SAVE10 --yes",
        ),
    ),
    examples={
        "stats": "checkoutctl cache stats --since 5m",
        "delivery": "checkoutctl cache delivery get 5.2 24.50",
        "delivery get": "checkoutctl cache delivery get 5.2 24.50",
        "delivery set": "checkoutctl cache delivery set 5.2 24.50 '{\"charge\": 3.9}' --dry-run",
        "delivery list": "checkoutctl cache delivery list --limit 200 --output csv",
        "delivery invalidate": "checkoutctl cache delivery invalidate --distance-from 5 --distance-to 10 --dry-run",
        "coupon": "checkoutctl cache coupon get WELCOME10",
        "coupon get": "checkoutctl cache coupon get WELCOME10",
        "coupon set": "checkoutctl cache coupon set WELCOME10 "
        "'{\"valid\": false}' --context '{\"total\": 24.5}' --dry-run",
        "coupon list": "checkoutctl cache coupon list --output ids",
        "coupon invalidate": "checkoutctl cache coupon invalidate WELCOME10 --yes",
    },
)

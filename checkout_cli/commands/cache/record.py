from checkout_cli.commands.needs import (
    CHANGE_CACHE,
    COUPONS,
    DELIVERY,
    IDENTITY,
    READ_CACHE,
    SCRIPTS,
    STATISTICS,
    Entry,
    on,
    plain,
)
from checkout_cli.commands.record import Command, Use


def _look(keys: str) -> Entry:
    return Entry(on(keys, READ_CACHE), IDENTITY)


def _invalidate(keys: str) -> Entry:
    return _look(keys) | Entry(on(keys, CHANGE_CACHE) | SCRIPTS | plain("scan"))


RECORD = Command(
    "cache",
    place=40,
    summary="Look at, correct and invalidate what is cached.",
    example="checkoutctl cache stats",
    uses=(
        Use("stats", "reader", STATISTICS),
        Use("delivery get", "reader", _look(DELIVERY), run="5 20"),
        Use("delivery list", "reader", _look(DELIVERY) | Entry(plain("scan"))),
        Use("delivery set", "operator", _look(DELIVERY) | Entry(on(DELIVERY, "set")), run="7 20 1.5 --yes"),
        Use("delivery invalidate", "operator", _invalidate(DELIVERY), run="--yes"),
        Use("coupon get", "reader", _look(COUPONS), run="SAVE10"),
        Use("coupon list", "reader", _look(COUPONS) | Entry(plain("scan"))),
        Use(
            "coupon set",
            "operator",
            _look(COUPONS) | Entry(on(COUPONS, "set")),
            run="SAVE20 - --yes",
            given='{"valid": true}',
        ),
        Use("coupon invalidate", "operator", _invalidate(COUPONS), run="SAVE10 --yes"),
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

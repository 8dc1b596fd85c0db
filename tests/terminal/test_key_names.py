from __future__ import annotations

import pytest

from checkout_cli.terminal.key_names import key_shown


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"checkout:index", "checkout:index"),
        (b"checkout:session:4645c59d-c428-4017", "checkout:session:4645c59d…"),
        (b"checkout:claim:{checkout:session:4645c59d-c428-4017}", "checkout:claim:{checkout:session:4645c59d…}"),
        (b"checkout:claim:{checkout:session:ada@example.com}", "checkout:claim:{checkout:session:********}"),
        (b"checkout:claim:ada@example.com", "checkout:********"),
        (b"checkout:claim:{" * 5000, "checkout:clai…"),
        (b"user:session:4645c59d-c428", "user:session:4645…"),
        (b"user:session:ada@example.com", "user:session:********"),
        (b"delivery:cache:2.5:500", "delivery:cache:2.5:500"),
        (b"coupon:cache:SAVE10", "coupon:cache:SAVE10"),
        (b"checkout:lock:cleanup", "checkout:lock:cleanup"),
        (b"coupon:cache:ada@example.com", "coupon:********"),
        (b"coupon:cache:4111111111111111", "coupon:cach…"),
        (b"coupon:cache:4111 1111 1111 1111", "coupon:********"),
        (b"checkout:session:jo@x.com", "checkout:session:********"),
        (b"cart:ada@example.com", "cart:********"),
        (b"checkout:cart:+49 170 1234567", "checkout:********"),
        (b"ada@example.com:cart", "********"),
        (b"other:1234567890", "other:1234…"),
        (b"evil:\x1b[31mred-and-long", "evil:********"),
        (b"\xff\xfe", "********"),
    ],
)
def test_a_key_shows_its_kind_and_no_more_than_the_beginning_of_an_id(key: bytes, shown: str) -> None:
    assert key_shown(key) == shown


def test_a_revealed_key_is_whole_and_still_safe_for_a_terminal() -> None:
    assert key_shown(b"cart:ada@example.com", reveal=True) == "cart:ada@example.com"
    assert "\x1b" not in key_shown(b"evil:\x1b[31m", reveal=True)

"""Names, hosts and tokens, without a server."""

from __future__ import annotations

import pytest

from checkout_cli.commands.serve.guard import _is_bearer, host_of, names

TOKEN = "f00dcafe" * 4


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8642", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8642", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("", ""),
        ("[", ""),
    ],
)
def test_a_host_is_told_from_its_port(text: str, host: str) -> None:
    assert host_of(text) == host


def test_we_answer_to_loopback_to_our_address_and_to_what_was_allowed() -> None:
    assert names("10.0.0.5", ["Shop.Internal:443"]) == {"localhost", "127.0.0.1", "::1", "10.0.0.5", "shop.internal"}


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        ("Bearer", False),
        ("Bearer é", False),
        (f"Bearer {TOKEN}x", False),
    ],
)
def test_only_the_whole_token_of_the_right_kind_passes(given: str, right: bool) -> None:
    assert _is_bearer(given, TOKEN) is right

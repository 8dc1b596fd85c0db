from __future__ import annotations

import math

import pytest

from checkout_cli.units import money


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (56.6, "56.60"),
        (7, "7.00"),
        (-3.5, "-3.50"),
        (0.125, "0.125"),
        (1e300, "1e+300"),
        (10**400, str(10**400)),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_money_has_two_decimals_unless_the_amount_has_more(amount: float, shown: str) -> None:
    assert money(amount) == shown

"""Checkouts of seven steps each, as a shopper takes them, invented from a seed."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

_CAKES = (
    ("rye-loaf", "Dark rye loaf", 540),
    ("kanelbulle", "Kanelbulle – søt", 310),
    ("tarte", "Tarte à l’orange", 2450),
)
_NOTES = ("Bitte zweimal läuten", "No plastic 🎂", 'Say "hello" \\ wave', "Ring\u2028twice\ttwice")


class Step(NamedTuple):
    """One request: what the shop does, and the fields that it sets. Every step has one that no later step touches."""

    do: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Checkout:
    """One checkout: its id, its steps, the last of which reads."""

    checkout_id: str
    steps: tuple[Step, ...]


def checkouts(number: int, chance: random.Random) -> list[Checkout]:
    """So many of them."""
    return [Checkout(str(uuid.UUID(int=chance.getrandbits(128), version=4)), _steps(chance)) for _ in range(number)]


def _steps(chance: random.Random) -> tuple[Step, ...]:
    first = _basket(chance, 1)
    second = _basket(chance, 3)
    shopper = chance.randrange(10_000)
    delivery = chance.choice((0, 390, 405))
    return (
        Step("create", {"userId": f"user-{shopper}", **first}),
        Step("update", {**second, "couponCode": chance.choice(("WELCOME10", "SUMMER10"))}),
        Step("update", {"addressText": f"{shopper % 90} Straße", "contactInfo": {"name": f"Zoë {shopper}"}}),
        Step("update", _delivered(second["subtotal"], delivery, chance)),
        Step("update", {"paymentStatus": "processing", "paymentAttempts": 1, "notes": chance.choice(_NOTES)}),
        Step("pay", {"paymentStatus": "paid", "databaseOrderId": f"ORD-{chance.randrange(10_000, 99_999)}"}),
        Step("get", {}),
    )


def _basket(chance: random.Random, most: int) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for product_id, name, price in chance.sample(_CAKES, chance.randint(1, most)):
        quantity = chance.randint(1, 3)
        items.append(
            {
                "product_id": product_id,
                "product_name": name,
                "quantity": quantity,
                "unit_price": price / 100,
                "total_price": quantity * price / 100,
            }
        )
    subtotal = sum(round(item["total_price"] * 100) for item in items)
    return {"items": items, "subtotal": subtotal / 100, "totalAmount": subtotal / 100}


def _delivered(subtotal: float, fee: int, chance: random.Random) -> dict[str, Any]:
    return {
        "deliveryDate": f"2026-12-{chance.randint(10, 24)}",
        "deliveryTimeSlot": chance.choice(("08:00-10:00", "14:00-16:00")),
        "deliveryFee": fee / 100,
        "distance": round(chance.uniform(0.4, 12), 1),
        "totalAmount": round(subtotal * 100 + fee) / 100,
    }

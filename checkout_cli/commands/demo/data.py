"""Sessions as a bakery's web shop has them, invented from a seed; no person, address or number in them is real."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkout_cli.session import PaymentStatus, iso

LIFE = 1800
"""The time to live of a session that was read just now, in seconds."""
EXPIRED_LIFE = 1.0
"""The time to live of a session that expires during the demonstration, in seconds."""

_MENU = (
    ("sourdough-loaf", "Sourdough loaf", "bread", 620),
    ("rye-loaf", "Dark rye loaf", "bread", 540),
    ("baguette", "Baguette", "bread", 280),
    ("butter-croissant", "Butter croissant", "pastry", 240),
    ("cardamom-bun", "Cardamom bun", "pastry", 310),
    ("pain-au-chocolat", "Pain au chocolat", "pastry", 290),
    ("lemon-tart", "Lemon tart", "cake", 2450),
    ("carrot-cake", "Carrot cake", "cake", 3200),
    ("birthday-cake", "Birthday cake, two layers", "cake", 4800),
    ("macarons-12", "Box of 12 macarons", "sweets", 1890),
    ("oat-cookies", "Oat cookies, bag of 8", "sweets", 760),
    ("coffee-beans", "House espresso beans, 250 g", "coffee", 1150),
)
_VARIANTS = {"cake": ("vanilla", "chocolate", "no nuts"), "bread": ("whole", "sliced"), "coffee": ("whole", "ground")}
_FIRST_NAMES = ("Amara", "Bjørn", "Chloé", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Iñigo", "Jun", "Kavya", "Lena")
_LAST_NAMES = ("Adeyemi", "Brandt", "Castro", "Dahl", "Eriksen", "Fontaine", "Gupta", "Haddad", "Ito", "Jansen")
_STREETS = ("Mill Lane", "Station Road", "Orchard Street", "Harbour Walk", "Linden Avenue", "Quarry Hill")
_COUPONS = ("WELCOME10", "SUMMER10", "BREAKFAST10")
_SLOTS = ("08:00-10:00", "10:00-12:00", "14:00-16:00", "16:00-18:00")
_NOTES = ("Please ring twice", "Leave it with the neighbour", "No plastic bag, thank you", "Happy birthday, Noor!")


class Outcome(StrEnum):
    """The outcome of an invented session."""

    BROWSING = "pending"
    PAYING = "processing"
    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ENDING = "about to expire"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Invented:
    """A session to be written, and its outcome; ``life`` is in seconds from now."""

    checkout_id: str
    fields: dict[str, Any]
    outcome: Outcome
    life: float

    @property
    def status(self) -> PaymentStatus | None:
        """The payment status that it is to reach; ``None`` where it stays as created."""
        reached = self.outcome in {Outcome.PAYING, Outcome.PAID, Outcome.FAILED, Outcome.CANCELLED}
        return PaymentStatus(self.outcome) if reached else None


def invented_sessions(numbers: Mapping[Outcome, int], chance: random.Random, now: int) -> list[Invented]:
    """As many sessions of each outcome as asked for, the oldest first; ``now`` is in milliseconds.

    A session that was begun ten minutes ago has ten minutes less to live, as if nobody had read it since.
    """
    minutes = {Outcome.ENDING: range(26, 29), Outcome.EXPIRED: range(31, 90)}
    outcomes = (outcome for outcome, number in numbers.items() for _ in range(number))
    aged = [(outcome, chance.choice(minutes.get(outcome, range(25))) * 60) for outcome in outcomes]
    return [_invented(outcome, age, chance, now) for outcome, age in sorted(aged, key=lambda pair: -pair[1])]


def _invented(outcome: Outcome, age: int, chance: random.Random, now: int) -> Invented:
    created = {"createdAt": iso(now - age * 1000 - chance.randrange(60_000))}
    return Invented(new_id(chance), _fields(chance) | created, outcome, max(EXPIRED_LIFE, LIFE - age))


def new_id(chance: random.Random) -> str:
    """A version 4 UUID from this generator."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def order_id(chance: random.Random) -> str:
    """The number under which the shop's database would know a paid checkout."""
    return f"ORD-{chance.randrange(10_000, 99_999)}"


def legacy_session(chance: random.Random, now: int) -> tuple[str, dict[str, Any]]:
    """A session exactly as the shop's older programs write it: no version, both moments in the JSON; ``now`` in ms."""
    checkout_id = new_id(chance)
    moments = {"createdAt": iso(now), "expiresAt": iso(now + LIFE * 1000)}
    return checkout_id, {"checkoutId": checkout_id, **_fields(chance), "paymentAttempts": 0, **moments}


def _fields(chance: random.Random) -> dict[str, Any]:
    items = [_item(chance, product) for product in chance.sample(_MENU, chance.choice((1, 1, 2, 2, 3, 4)))]
    subtotal = sum(round(item["total_price"] * 100) for item in items)
    coupon = chance.choice(_COUPONS) if chance.random() < 0.2 else None
    discount = subtotal // 10 if coupon else 0
    delivery = 0 if subtotal >= 4000 else 390
    fields: dict[str, Any] = {
        "items": items,
        "subtotal": subtotal / 100,
        "discount": discount / 100,
        "deliveryFee": delivery / 100,
        "freeDeliveryQualified": delivery == 0,
        "totalAmount": (subtotal - discount + delivery) / 100,
        "distance": round(chance.uniform(0.4, 12), 1),
        "deliveryTimeSlot": chance.choice(_SLOTS),
        "paymentStatus": str(PaymentStatus.PENDING),
    }
    if coupon:
        fields["couponCode"] = coupon
    if chance.random() < 0.7:
        fields |= _shopper(chance)
    if chance.random() < 0.15:
        fields["notes"] = chance.choice(_NOTES)
    return fields


def _item(chance: random.Random, product: tuple[str, str, str, int]) -> dict[str, Any]:
    product_id, name, category, price = product
    quantity = chance.choice((1, 1, 1, 2, 3))
    item: dict[str, Any] = {
        "product_id": product_id,
        "product_name": name,
        "category": category,
        "quantity": quantity,
        "unit_price": price / 100,
        "total_price": quantity * price / 100,
    }
    if category in _VARIANTS:
        item["variant"] = chance.choice(_VARIANTS[category])
    return item


def _shopper(chance: random.Random) -> dict[str, Any]:
    first, last = chance.choice(_FIRST_NAMES), chance.choice(_LAST_NAMES)
    number = chance.randrange(10_000)
    # example.com and 555-01xx belong to nobody, on purpose
    return {
        "userId": f"{chance.getrandbits(48):012x}",
        "userEmail": f"shopper{number}@example.com",
        "contactInfo": {"name": f"{first} {last}", "phone": f"+1 555 01{number % 100:02d}"},
        "addressText": f"{chance.randrange(1, 120)} {chance.choice(_STREETS)}",
    }

"""How two bodies are compared and combined: by groups of fields that belong together (rule 8).

What is taken from a body are its very bytes; nothing is serialised anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from checkout_cli.session import FINAL_STATUSES, decode, may_follow, members_of, milliseconds_of, with_members
from checkout_cli.store.protocol.flushing import Joined

EXPIRY = "expiresAt"
"""No part of a state: each read may move it."""
IDENTITY = ("checkoutId", "createdAt")
"""What a session is known by, and how old it is; no writer changes it."""
STATUS, ORDER = "paymentStatus", "databaseOrderId"
_CART = frozenset(
    [
        "items",
        "subtotal",
        "discount",
        "deliveryFee",
        "freeDeliveryQualified",
        "totalAmount",
        "cgstAmount",
        "sgstAmount",
        "couponCode",
    ]
)
_ADDRESS = frozenset(["addressText", "selectedAddressId", "contactInfo", "distance", "duration", "deliveryZone"])


def group_of(name: str) -> str:
    """The name of the group of fields that only make sense together with this one."""
    if name == ORDER or name.startswith("payment"):
        return STATUS
    if name in _CART:
        return "items"
    return "addressText" if name in _ADDRESS else name


class SessionBodies:
    """The bodies of the session with this ``checkout_id``, whatever a body says."""

    def __init__(self, checkout_id: str) -> None:
        self._checkout_id = checkout_id

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two bodies are equal but for ``expiresAt``."""
        return one == other or _equal(_state(one), _state(other))

    def first(self, incoming: bytes) -> Joined:
        """A first version; a ``checkoutId`` other than the key's is not taken over."""
        if decode(incoming).get("checkoutId", self._checkout_id) == self._checkout_id:
            return Joined(incoming, complete=True)
        own = msgspec.Raw(msgspec.json.encode(self._checkout_id))
        return Joined(with_members(incoming, {"checkoutId": own}), complete=False)

    def follow(self, row: bytes, incoming: bytes) -> Joined:
        """The incoming body, with the row's payment where the status may not follow, and always the row's identity."""
        ours, theirs = members_of(row), members_of(incoming)
        if all(_same_bytes(ours.get(name), theirs.get(name)) for name in (*IDENTITY, STATUS)):
            return Joined(incoming, complete=True)  # nearly always, and the rest is slow
        before, after = _state(row), _state(incoming)
        kept = [name for name in IDENTITY if name in before and not _same_member(name, before, after)]
        if not may_follow(before.get(STATUS), after.get(STATUS)):
            kept += [name for name in {**before, **after} if group_of(name) == STATUS]
        return Joined(_with_members_of(row, incoming, kept), complete=not kept)

    def merge(self, base: bytes | None, row: bytes, incoming: bytes) -> Joined:
        """The row, with the groups that only the incoming body changed; the row wins where both did.

        Without a base, nobody knows what changed: only a final payment moves forward.
        """
        if base is None:
            return self._payment_forward(row, incoming)
        was, ours, theirs = _state(base), _state(row), _state(incoming)
        names: dict[str, list[str]] = {}
        for name in {**was, **ours, **theirs}:
            names.setdefault(group_of(name), []).append(name)
        taken: list[str] = []
        complete = True
        for group, members in names.items():
            if not _differ(was, theirs, members) or not _differ(ours, theirs, members):
                continue
            refused = group == STATUS and not may_follow(ours.get(STATUS), theirs.get(STATUS))
            if refused or group in IDENTITY or _differ(was, ours, members):
                complete = False
            else:
                taken += members
        return Joined(_with_members_of(incoming, row, taken), complete)

    def has_change(self, before: bytes, after: bytes, row: bytes) -> bool:
        """Whether a row has all that a write has changed in a body."""
        was, wanted, stands = _state(before), _state(after), _state(row)
        return not any(_differ(was, wanted, [name]) and _differ(wanted, stands, [name]) for name in {**was, **wanted})

    def _payment_forward(self, row: bytes, incoming: bytes) -> Joined:
        ours, theirs = _state(row), _state(incoming)
        status = theirs.get(STATUS)
        moves = status in FINAL_STATUSES and may_follow(ours.get(STATUS), status)
        news = ours.get(STATUS) != status or (bool(theirs.get(ORDER)) and not ours.get(ORDER))
        names = [name for name in theirs if group_of(name) == STATUS] if moves and news else []
        joined = _with_members_of(incoming, row, names)
        replaced = [name for name in names if name != STATUS and name in ours]  # perhaps a write of ours since
        return Joined(joined, complete=self.same(joined, incoming) and not _differ(ours, theirs, replaced))


def _same_bytes(one: msgspec.Raw | None, other: msgspec.Raw | None) -> bool:
    return one is other if one is None or other is None else bytes(one) == bytes(other)


def _state(body: bytes) -> dict[str, Any]:
    """The fields but ``expiresAt``, each name as its exact bytes: :func:`decode` may replace characters."""
    return {name: decode(b'{"":%b}' % bytes(raw))[""] for name, raw in members_of(body).items() if name != EXPIRY}


def _with_members_of(source: bytes, target: bytes, names: list[str]) -> bytes:
    """The target with these members as the source has them, without those that it lacks."""
    if not names:
        return target
    members = members_of(source)
    return with_members(target, {name: members.get(name) for name in names})


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], names: list[str]) -> bool:
    return any((name in one) != (name in other) or not _equal(one.get(name), other.get(name)) for name in names)


def _same_member(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if name not in other:
        return False
    moment = milliseconds_of(one[name])
    return _equal(one[name], other[name]) or (moment is not None and moment == milliseconds_of(other[name]))


def _equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal to a program with one kind of number; ``1`` is not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)

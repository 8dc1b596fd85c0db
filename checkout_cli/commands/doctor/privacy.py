"""Is personal or card data anywhere that it must not be? Judged by samples; what is found is never repeated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from checkout_cli import lone_surrogates
from checkout_cli.checks import Finding, crit, ok, warn
from checkout_cli.commands.doctor.check import Group, server_check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.doctor.sample import keys_of
from checkout_cli.errors import CardDataRefused, CommandDenied, CommandUnknown
from checkout_cli.keys import SESSION_PREFIX, USER_PREFIX, Family
from checkout_cli.privacy.card_data import refuse_card_data
from checkout_cli.privacy.card_numbers import holds_card_number
from checkout_cli.servers.inspection import Inspector
from checkout_cli.store.bookkeeping import USER_FIELDS
from checkout_cli.store.protocol.value import decode as decode_value
from checkout_cli.store.redis.commands import decoded

MOST_READ = 200
"""Values of a family that are read."""
LARGEST_READ = 64 * 1024
"""Bytes of a value that is read; a larger one is another check's business."""
MOST_FIELDS = 64
LOOKED_AT = 128
"""Entries of the slow log."""

_ADDRESS = re.compile(r"[^\s@\"':,]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_PHONE = re.compile(r"(?<![0-9A-Za-z])\+[0-9]{8,15}(?![0-9])")
_LOCAL_PHONE = re.compile(r"(?:0|91)?[6-9][0-9]{9}")
"""A mobile number of the shop's country as it is typed there; as a whole id, for a part of one may be anything."""
_PLAIN_PATH = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]{0,31}|\*{8})(?:\[[0-9]+\]|\.[A-Za-z_][A-Za-z0-9_]{0,31}|\.\*{8})*")
"""Some programs key objects by e-mail address or phone."""
_NO_OBJECT = "value"
"""Stands for the name of a field, where a cached value is none's."""
_OURS = (Family.SESSIONS, Family.INDEX, Family.DELIVERY, Family.COUPON, Family.USERS, Family.STATS, Family.OURS)


@dataclass
class Drawn:
    """Keys of one server from random places, and what some of them hold."""

    keys: dict[Family, list[bytes]]
    values: dict[Family, list[bytes]] = field(default_factory=dict)
    user_fields: list[tuple[bytes, ...]] = field(default_factory=list)

    @property
    def number(self) -> int:
        """How many keys."""
        return sum(map(len, self.keys.values()))


def _drawn(context: DoctorContext, server: Inspector) -> Drawn:
    """One sample of a server for all checks."""
    return context.once(f"drawn from {server.place}", lambda: _draw(server, keys_of(context, server)))


def _draw(server: Inspector, keys: dict[Family, list[bytes]]) -> Drawn:
    drawn = Drawn(keys)
    for family in (Family.SESSIONS, Family.DELIVERY, Family.COUPON):
        drawn.values[family] = _values(server, drawn.keys.get(family, [])[:MOST_READ])
    drawn.user_fields = _fields(server, drawn.keys.get(Family.USERS, [])[:MOST_READ])
    return drawn


def _values(server: Inspector, keys: Sequence[bytes]) -> list[bytes]:
    """What strings hold; keys of another type, and gone ones, are left out."""
    sizes = _answers(server.lengths(keys))
    small = [key for key, size in zip(keys, sizes, strict=True) if isinstance(size, int) and 0 < size <= LARGEST_READ]
    values = _answers(server.values(small))
    return [value for value in values if isinstance(value, bytes)]


def _fields(server: Inspector, keys: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """The names of the fields of hashes."""
    lengths = _answers(server.field_counts(keys))
    small = [
        key for key, length in zip(keys, lengths, strict=True) if isinstance(length, int) and length <= MOST_FIELDS
    ]
    names = _answers(server.field_names(small))
    return [tuple(reply) for reply in names if isinstance(reply, list)]


def _answers(replies: Sequence[Any]) -> Sequence[Any]:
    """The replies, unless the command itself is refused: then nothing can be judged by what is left."""
    for reply in replies:
        if isinstance(reply, (CommandDenied, CommandUnknown)):
            raise reply
    return replies


_SAMPLING = ("dbsize", "randomkey", "scan", "sessions:strlen,get", "caches:strlen,get", "users:hlen,hkeys")


@server_check("user-fields", Group.PRIVACY, *_SAMPLING)
def user_fields(context: DoctorContext, server: Inspector) -> Finding:
    """What is tracked of users is on the list of harmless fields.

    user:session:* has counts, moments and a status. Any other field was put there by another program, and may be an
    e-mail address, a phone number or a name.
    """
    drawn = _drawn(context, server)
    foreign = {decoded(name) for names in drawn.user_fields for name in names} - set(USER_FIELDS)
    looked = f"{len(drawn.user_fields)} sampled users"
    if not foreign:
        return ok(f"nothing else in {looked}", sampled=len(drawn.user_fields))
    harmless = sorted(name for name in foreign if name.isascii() and name.isidentifier() and len(name) <= 32)
    named = ", ".join(harmless[:5]) or "names that are not shown"
    evidence = f"{len(foreign)} other fields in {looked}: {named}"
    return crit(evidence, "checkoutctl users list shows whose; mend the program that writes them", fields=len(foreign))


@server_check("card-data", Group.PRIVACY, *_SAMPLING)
def card_data(context: DoctorContext, server: Inspector) -> Finding:
    """No card data is stored.

    Sampled sessions and cached answers go through the same test that refuses card data on every write through this
    program; other programs may not have one. Card numbers in the names of keys are looked for as well.
    """
    drawn = _drawn(context, server)
    paths = [path for values in drawn.values.values() for value in values if (path := _path_of_card_data(value))]
    names = sum(holds_card_number(decoded(key)) for keys in drawn.keys.values() for key in keys)
    looked = f"{sum(map(len, drawn.values.values()))} sampled values and {drawn.number} names of keys"
    if not paths and not names:
        return ok(f"none in {looked}", sampled=drawn.number)
    where = ", ".join(sorted(set(paths))[:3]) or "the names of keys"
    evidence = f"{len(paths)} values and {names} names of keys hold card data ({where}), of {looked}"
    return crit(evidence, "delete it, and mend the program that writes it", values=len(paths), names=names)


def _path_of_card_data(value: bytes) -> str:
    """Where in a value card data stands; empty where there is none."""
    try:
        fields = msgspec.json.decode(lone_surrogates.replaced(decode_value(value).body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "a value that is no JSON" if holds_card_number(decoded(value)) else ""
    try:
        refuse_card_data(fields if isinstance(fields, dict) else {_NO_OBJECT: fields})
    except CardDataRefused as found:
        return found.path if _PLAIN_PATH.fullmatch(found.path) else "a field whose name is not shown"
    return ""


@server_check("key-names", Group.PRIVACY, *_SAMPLING)
def key_names(context: DoctorContext, server: Inspector) -> Finding:
    """The names of checkout keys hold no e-mail address and no phone number.

    Names stand in every log, MONITOR and slow log of the server.
    """
    drawn = _drawn(context, server)
    names = {family: [decoded(key) for key in drawn.keys.get(family, [])] for family in _OURS}
    telling = {family: sum(map(_is_telling, its)) for family, its in names.items()}
    number, found = sum(map(len, names.values())), sum(telling.values())
    if not found:
        return ok(f"none in {number:,} sampled names", sampled=number)
    families = ", ".join(family for family in telling if telling[family])
    evidence = f"{found:,} of {number:,} sampled names do, in: {families}"
    return warn(evidence, "let the shop use ids that mean nothing", sampled=number, found=found)


def _is_telling(name: str) -> bool:
    by_phone = name.startswith((SESSION_PREFIX, USER_PREFIX)) and _LOCAL_PHONE.fullmatch(name.rpartition(":")[2])
    return bool(by_phone) or _is_personal(name)


def _is_personal(text: str) -> bool:
    return _ADDRESS.search(text) is not None or _PHONE.search(text) is not None


@server_check("slow-log-data", Group.PRIVACY, "slowlog|get")
def slow_log_data(_context: DoctorContext, server: Inspector) -> Finding:
    """The slow log holds no personal data.

    It keeps the first arguments of slow commands as they were, whoever may read it.
    """
    entries = server.slow_commands(LOOKED_AT)
    # Each argument by itself: a score and a time to live that stand side by side are no card number.
    commands = [[decoded(part) for part in entry.arguments] for entry in entries]
    cards = sum(any(map(holds_card_number, command)) for command in commands)
    personal = sum(any(map(_is_personal, command)) for command in commands)
    if not cards and not personal:
        return ok(f"none in its {len(commands)} entries", entries=len(commands))
    evidence = f"{cards} of its {len(commands)} entries hold card numbers, {personal} e-mail addresses or phone numbers"
    found = crit if cards else warn
    return found(evidence, "checkoutctl slowlog --reset", entries=len(commands), cards=cards, personal=personal)

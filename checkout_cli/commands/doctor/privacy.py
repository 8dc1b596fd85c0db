"""Is personal or card data anywhere that it must not be? Judged by samples; what is found is never repeated."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from checkout_cli import lone_surrogates
from checkout_cli.checks import Finding, crit, ok, warn
from checkout_cli.commands.doctor.check import Group, server_check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.doctor.sample import granted, keys_of
from checkout_cli.errors import CardDataRefused
from checkout_cli.keys import Family, family_of
from checkout_cli.privacy.card_data import refuse_card_data
from checkout_cli.privacy.card_numbers import holds_card_number
from checkout_cli.privacy.personal_ids import holds_personal, is_personal, is_program_name
from checkout_cli.servers.inspection import Inspector
from checkout_cli.store.bookkeeping import USER_FIELDS
from checkout_cli.store.protocol.value import decode as decode_value
from checkout_cli.store.redis.commands import decoded

MOST_READ = 200
"""Values of a family that are read."""
LARGEST_READ = 64 * 1024
"""Bytes of a value that is read; a larger one is another check's business."""
LOOKED_AT = 128
"""Entries of the slow log."""

_PLAIN_PATH = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]{0,31}|\*{8})(?:\[[0-9]+\]|\.[A-Za-z_][A-Za-z0-9_]{0,31}|\.\*{8})*")
"""Some programs key objects by e-mail address or phone."""
_NO_OBJECT = "value"
"""Stands for the name of a field, where a cached value is none's."""
Question = Callable[[Sequence[bytes]], Sequence[Any]]
_OURS = (Family.SESSIONS, Family.INDEX, Family.DELIVERY, Family.COUPON, Family.USERS, Family.STATS, Family.OURS)


@dataclass(frozen=True)
class Drawn:
    """Keys of one server from random places, the values of some, and the fields of some users."""

    keys: list[bytes]
    values: list[bytes]
    user_fields: list[tuple[bytes, ...]]


def _drawn(context: DoctorContext, server: Inspector) -> Drawn:
    """One sample of a server for all checks."""
    return context.once(f"drawn from {server.place}", lambda: _draw(server, keys_of(context, server)))


def _draw(server: Inspector, keys: dict[Family, list[bytes]]) -> Drawn:
    values = [
        value
        for family in (Family.SESSIONS, Family.DELIVERY, Family.COUPON)
        for value in _read(keys.get(family, []), server.lengths, LARGEST_READ, server.values)
        if isinstance(value, bytes)
    ]
    fields = granted(server.field_names(keys.get(Family.USERS, [])[:MOST_READ]))
    names = [tuple(reply) for reply in fields if isinstance(reply, list) and reply]
    return Drawn([key for some in keys.values() for key in some], values, names)


def _read(keys: list[bytes], measure: Question, most: int, read: Question) -> Sequence[Any]:
    """The contents of some keys, unless they are large, gone or of another type."""
    chosen = keys[:MOST_READ]
    sizes = zip(chosen, granted(measure(chosen)), strict=True)
    return granted(read([key for key, size in sizes if isinstance(size, int) and 0 < size <= most]))


_SAMPLING = ("dbsize", "randomkey", "scan", "sessions:strlen,get", "caches:strlen,get", "users:hlen,hkeys,memory|usage")


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
    harmless = sorted(filter(is_program_name, foreign))
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
    paths = [path for value in drawn.values if (path := _path_of_card_data(value))]
    names = sum(holds_card_number(decoded(key)) for key in drawn.keys)
    looked = f"{len(drawn.values)} sampled values and {len(drawn.keys)} names of keys"
    if not paths and not names:
        return ok(f"none in {looked}", sampled=len(drawn.keys))
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
    names = [(family, decoded(key)) for key in _drawn(context, server).keys if (family := family_of(key)) in _OURS]
    telling = Counter(family for family, name in names if is_personal(name))
    number, found = len(names), telling.total()
    if not found:
        return ok(f"none in {number:,} sampled names", sampled=number)
    evidence = f"{found:,} of {number:,} sampled names do, in: {', '.join(sorted(telling, key=_OURS.index))}"
    return warn(evidence, "let the shop use ids that mean nothing", sampled=number, found=found)


@server_check("slow-log-data", Group.PRIVACY, "slowlog|get")
def slow_log_data(_context: DoctorContext, server: Inspector) -> Finding:
    """The slow log holds no personal data.

    It keeps the first arguments of slow commands as they were, whoever may read it.
    """
    entries = server.slow_commands(LOOKED_AT)
    # Each argument by itself: a score and a time to live that stand side by side are no card number.
    commands = [[decoded(part) for part in entry.arguments] for entry in entries]
    cards = sum(any(map(holds_card_number, command)) for command in commands)
    personal = sum(any(map(holds_personal, command)) for command in commands)
    if not cards and not personal:
        return ok(f"none in its {len(commands)} entries", entries=len(commands))
    evidence = f"{cards} of its {len(commands)} entries hold card numbers, {personal} e-mail addresses or phone numbers"
    found = crit if cards else warn
    return found(evidence, "checkoutctl slowlog --reset", entries=len(commands), cards=cards, personal=personal)

"""The dirty values that are written to Redis: ours without the database, and external ones as they are taken in."""

from __future__ import annotations

from checkout_cli.store.protocol.ids import EXTERNAL, MOST_IDS, RESTORED, extended, first_of
from checkout_cli.store.protocol.value import Value


def taken_in(value: Value, digest: str, identity: bytes | None, token: str) -> Value:
    """An external value as a dirty one of ours, with the same body (rule 9): questionable until it was flushed.

    ``digest`` is of its exact bytes; ``token`` is one that nobody has used.
    """
    ids = (*_carried(value), _external_id(value, digest, identity), first_of(token))
    return Value(value.base, identity or b"-", value.body, ids, questionable=True)


def written(
    value: Value, body: bytes, identity: bytes | None, *, issued: str | None, token: str, digest: str = ""
) -> Value:
    """The dirty value that a write makes of what was read (rules 2, 9 and 16).

    On a value of another server, it begins a token of its own and is questionable. An external value is taken in by
    the same write, which then counts as two: ``digest`` is of its exact bytes.
    """
    if value.is_external:
        ids = (*_carried(value), _external_id(value, digest, identity), f"{token}-2")
        return Value(value.base, identity or b"-", body, ids, questionable=True)
    elsewhere = value.identity != identity
    ids = extended(value.ids, issued=None if elsewhere else issued, token=token)
    return Value(value.base, identity or b"-", body, ids, questionable=value.questionable or elsewhere)


def _carried(value: Value) -> tuple[str, ...]:
    """The ids that an external value came with: of more than fit beside two new ones, the last."""
    return value.ids[-(MOST_IDS - 2) :]


def _external_id(value: Value, digest: str, identity: bytes | None) -> str:
    """Bytes that name another server, or none, may have come back with a restart."""
    return (EXTERNAL if value.identity == identity else RESTORED) + digest

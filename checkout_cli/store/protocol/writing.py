"""The dirty values that are written to Redis: ours without the database, and external ones as they are taken in."""

from __future__ import annotations

from checkout_cli.store.protocol.ids import EXTERNAL, MOST_IDS, RESTORED, extended, first_of
from checkout_cli.store.protocol.value import NO_IDENTITY, Value


def taken_in(value: Value, digest: str, identity: bytes | None, token: str) -> Value:
    """An external value as a dirty one of ours, with the same body (rule 9): questionable until it was flushed.

    ``digest`` is of its exact bytes; ``token`` is unused. With more ids than a header may have, its header is dropped.
    """
    ids = (_external_id(value, digest, identity), first_of(token))
    if len(value.ids) + len(ids) > MOST_IDS:
        return Value(0, identity or NO_IDENTITY, value.body, ids, questionable=True)
    return Value(value.base, identity or NO_IDENTITY, value.body, (*value.ids, *ids), questionable=True)


def written(
    value: Value, body: bytes, identity: bytes | None, *, issued: str | None, token: str, digest: str = ""
) -> Value:
    """The dirty value that a write makes of the value read (rules 2, 9 and 16).

    On a value of another server, a new token begins, and the result is questionable. The write takes an external value
    in, and then counts as two: ``digest`` is of its exact bytes.
    """
    if value.is_external:
        ids = (*value.ids, _external_id(value, digest, identity), f"{token}-2")
        return Value(value.base, identity or NO_IDENTITY, body, ids, questionable=True)
    elsewhere = value.identity != identity
    ids = extended(value.ids, issued=None if elsewhere else issued, token=token)
    return Value(value.base, identity or NO_IDENTITY, body, ids, questionable=value.questionable or elsewhere)


def _external_id(value: Value, digest: str, identity: bytes | None) -> str:
    """Bytes that name another server, or none, may have come back with a restart."""
    return (EXTERNAL if value.identity == identity else RESTORED) + digest

"""The bodies of the model: the letters of the writes that are in them, sorted, as bytes.

A small letter is a field that its write sets. A capital letter is a final payment status: there is one at most, none
means pending, and nothing follows it. A dot stands for ``expiresAt``, which is no part of a state.
"""

from __future__ import annotations

from functools import cache

from checkout_cli.store.protocol.flushing import Joined

RENEWED = b"."


@cache
def mask(body: bytes | None) -> int:
    """The writes in a body, one bit for each, so that sets of them are quick to compare."""
    return 0 if body is None else sum(1 << letter for letter in body.replace(RENEWED, b""))


@cache
def letters(writes: int) -> str:
    """The writes of a mask, for people."""
    return "".join(chr(letter) for letter in range(128) if writes >> letter & 1)


def bit(write: str) -> int:
    """The mask of one write."""
    return 1 << ord(write)


@cache
def with_write(body: bytes, write: str) -> bytes:
    """The body after a write; ``-`` takes the payment back to pending."""
    if write == "-":
        return _plain(body)
    added = write.encode()
    return _of(_plain(body), added) if added.isupper() else _of(body, added)


@cache
def renewed(body: bytes) -> bytes:
    """The body with another ``expiresAt``."""
    return _of(body.replace(RENEWED, b"")) if RENEWED in body else _of(body, RENEWED)


@cache
def status(body: bytes) -> bytes:
    """The final payment status, if there is one."""
    return bytes(letter for letter in body if letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def may_follow(before: bytes, after: bytes) -> bool:
    """Whether the payment of one body may become that of the other."""
    return status(before) in {b"", status(after)}


class LetterBodies:
    """How such bodies are compared and combined: each letter is a field, the status is one, and the row wins."""

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two bodies are one state."""
        return mask(one) == mask(other)

    def first(self, incoming: bytes) -> Joined:
        """What may become a session's first version."""
        return Joined(incoming, complete=True)

    def follow(self, row: bytes, incoming: bytes) -> Joined:
        """The incoming body, with the row's payment where its own may not follow."""
        if may_follow(row, incoming):
            return Joined(incoming, complete=True)
        return Joined(_of(_plain(incoming), status(row)), complete=False)

    def merge(self, base: bytes | None, row: bytes, incoming: bytes) -> Joined:
        """The row with what the incoming body changed of the base; without a base, a payment moves forward alone."""
        if base is None:
            moves = may_follow(row, incoming)
            joined = _of(_plain(row), status(incoming)) if moves else row
            return Joined(joined, complete=self.same(joined, incoming))
        added = set(_plain(incoming)) - set(_plain(base))
        removed = set(_plain(base)) - set(_plain(incoming))
        fields = bytes((set(_plain(row)) | added) - removed)
        if status(incoming) in {status(base), status(row)}:
            return Joined(_of(fields, status(row)), complete=True)
        if status(base) == status(row) and may_follow(row, incoming):
            return Joined(_of(fields, status(incoming)), complete=True)
        return Joined(_of(fields, status(row)), complete=False)


BODIES = LetterBodies()


def _of(*parts: bytes) -> bytes:
    return bytes(sorted(set(b"".join(parts))))


def _plain(body: bytes) -> bytes:
    return bytes(letter for letter in body if letter not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ.")

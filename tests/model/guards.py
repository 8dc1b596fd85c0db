"""The guards of the protocol, each of which can be switched off, to see what it is for.

Those of the core are switched off around the core's own functions (:class:`Decisions`): these decide everything that a
guard does not. Those of scripts, transactions and the hand-over are switched off where these are modelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from checkout_cli.store.protocol import flushing, trust, writing
from checkout_cli.store.protocol.flushing import Flush, Logged, Result
from checkout_cli.store.protocol.ids import EXTERNAL, RESTORED, contains, token_of
from checkout_cli.store.protocol.publishing import Move, Outcome, Publication
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.trust import Distrust, Doubt
from checkout_cli.store.protocol.value import Kind, Value
from tests.model.letters import BODIES


@dataclass(frozen=True)
class Guards:
    """All of them."""

    # Values and ids
    rewriting_shows: bool = True
    """A value that an external program wrote back shows, even where nothing else was changed: the blank, and CHECK."""
    own_tokens: bool = True
    """A process extends a token only from the very last id that it has issued itself."""
    failed_write_ends_token: bool = True
    """After a write that failed, or was not heard of, the next one begins a token."""
    other_server_is_questionable: bool = True
    """What is built on a value of another server is trusted by nobody."""
    taken_in_is_questionable: bool = True
    """An external value that was taken in is trusted by nobody."""
    restored_bytes_are_known: bool = True
    """The hash of external bytes that may have come back with a restart is looked for in the flush log."""

    # Trust
    identity: bool = True
    """A value is trusted only under the identity of the server that it was published to."""
    lease: bool = True
    """Trust ends T after the last look for pending rows."""
    lease_from_start: bool = True
    """T counts from the start of that look, not from its end."""
    look_before_open: bool = True
    """The look comes before the value is read."""
    judged_from_before: bool = True
    """A read trusts by the lease, and the distrust, of the moment before it asked Redis, too."""
    distrust: bool = True
    """Pending rows, and rows that this process has not published, are distrusted."""
    precise_distrust: bool = True
    """A distrusted row is a version with its id: as many other writes do not make up for it."""
    own_distrust: bool = True
    """Who commits a version distrusts what lacks it until it is published."""
    own_writes_are_trusted_in: bool = True
    """A process trusts no value that lacks a write of its own that the database does not have yet."""
    own_writes_from_before: bool = True
    """Nor one that was read before the database had that write."""
    flusher_distrusts: bool = True
    """Who flushes in the background distrusts what lacks the flushed version until it is published, too."""
    older_publish_proves_nothing: bool = True
    """The publish of an older version ends no distrust."""

    # Publishing
    publish_compares: bool = True
    """A publish replaces exactly the bytes that were judged."""
    looks_again: bool = True
    """Outcomes that write nothing count only on bytes that were returned after the row was committed."""
    exhausted_is_pending: bool = True
    """After too many refusals, the row is not published."""
    bound: bool = True
    """Scripts go to the very server that answered the first step, or have failed."""
    external_stays: bool = True
    """A publish never replaces an external value that the database has not accounted for."""
    dirty_stays: bool = True
    """A publish never replaces a dirty value that the database has not accounted for."""
    refused_by_dirty_is_pending: bool = True
    """A row that a dirty value keeps out of Redis is not published."""
    newer_stays: bool = True
    """A publish replaces only what is older."""
    restamps: bool = True
    """A publish replaces the same version under another identity."""
    noted_after_publish: bool = True
    """Which version Redis has is noted after its publish, not by the transaction that makes it."""
    own_row_has_its_version: bool = True
    """A dirty value that ends with the row's write id is that row only if it has its version, too."""

    # Fill claims
    fills_by_claim: bool = True
    """Who finds the key missing fills it only if the claim is still theirs."""
    claims_end_at_a_write: bool = True
    """Whoever writes the key ends every claim."""
    claims_end_at_a_deletion: bool = True
    """So does who deletes it."""
    claims_end_at_a_miss: bool = True
    """So does who finds the key missing."""

    # Flushing
    flush_log: bool = True
    """A write that was flushed is not flushed again."""
    version_grows: bool = True
    """A value whose version would not grow, whatever its header claims, is merged."""
    base_rule: bool = True
    """A value becomes the next version only of the row that it grew from."""
    base_of_both: bool = True
    """A body is compared with the one that both grew from, or with none."""
    tombstone_wins: bool = True
    """What is flushed after a deletion is a conflict."""
    version_adds_up: bool = True
    """The version after a flush is the one that callers saw: the base, and one for each write."""
    numbers_count: bool = True
    """A value contains a write of its token only up to its own number."""
    fresh_id: bool = True
    """A row that is not the value's own state has an id of its own."""

    # Writing
    version_check: bool = True
    """The database replaces only the version that was seen."""
    tombstone_stays: bool = True
    """A deleted session keeps its row."""
    write_id_settles: bool = True
    """A lost answer to COMMIT is settled by the write id in the row, not by trying again."""
    attempted_on_same_base: bool = True
    """A write that the database may have goes to Redis alone only on the version that it was built on."""
    attempted_on_copy: bool = True
    """And only if that was a clean copy, not a row that had just been flushed."""
    missing_is_no_deletion: bool = True
    """A missing key is filled from the row."""
    forgets_what_it_saw: bool = True
    """An id is taken out of ``checkout:pending`` only while exactly what was seen, nothing dirty, lies there."""

    # Write-behind
    keeps_own_copies: bool = True
    """The writer keeps what it wrote until the database has it."""
    own_copies_are_a_list: bool = True
    """A newer write replaces only the copies that it contains."""
    own_copies_first: bool = True
    """A process brings its own writes of a session to the database before it asks or writes there."""
    pays_its_own_bytes: bool = True
    """It then flushes what it wrote itself, not what lies in Redis by then."""
    payment_needs_its_change: bool = True
    """It is acknowledged only with its own change in the row."""
    held_is_compared: bool = True
    """A write from a held copy replaces exactly that copy."""

    # Sentinel
    fence: bool = True
    """Only the latest registered primary is trusted, and only its publishes are noted."""
    lease_has_its_epoch: bool = True
    """A lease counts only for the primary that it was obtained for."""
    notes_of_this_epoch: bool = True
    """A publish to an earlier primary is never noted under a later one."""


class Decisions:
    """The core's decisions, each with its guards."""

    def __init__(self, guards: Guards) -> None:
        """With all guards, these are the core's own functions."""
        self._guards = guards

    def doubt(
        self,
        value: Value,
        identity: bytes,
        distrusted: Iterable[Distrust],
        *,
        lease: bool,
        own: Sequence[str] = (),
    ) -> Doubt | None:
        """``trust.doubt``."""
        guards = self._guards
        if not guards.distrust:
            distrusted = ()
        if not guards.precise_distrust and not value.is_external:
            distrusted = [each for each in distrusted if value.version < each.version]
        if not guards.identity:
            identity = value.identity
        if not guards.taken_in_is_questionable:
            value = msgspec.structs.replace(value, questionable=False)
        if not guards.own_writes_are_trusted_in:
            own = ()
        return trust.doubt(value, identity, list(distrusted), lease=lease or not guards.lease, own=own)

    def next(self, publication: Publication) -> Move | Outcome:
        """``Publication.next``, and what ``judge`` says."""
        move, seen, row = publication.next(), publication.seen, publication.row
        if seen is None:
            return move
        outcome = move if isinstance(move, Outcome) else None
        if move is Move.LOOK:  # it writes nothing; ask what it would be
            asked = msgspec.structs.replace(publication, fresh=True).next()
            assert isinstance(asked, Outcome)
            outcome = asked
        guards, replaces = self._guards, False
        if seen.value.is_dirty and seen.value.ids[-1] == row.write_id:
            replaces = not guards.own_row_has_its_version
        elif outcome is Outcome.EXTERNAL:
            replaces = not guards.external_stays
        elif outcome is Outcome.DIRTY:
            replaces = not guards.dirty_stays
        elif outcome is Outcome.NEWER and not seen.value.is_dirty:
            replaces = not guards.newer_stays
        if replaces:
            return Move.SWAP
        if move is Move.SWAP and not guards.restamps and seen.value.base == row.version and not seen.value.is_dirty:
            return Outcome.NEWER
        if move is Move.LOOK and not guards.looks_again:
            assert outcome is not None
            return outcome
        return move

    def is_published(self, outcome: Outcome) -> bool:
        """``Outcome.is_published``."""
        if outcome is Outcome.DIRTY and not self._guards.refused_by_dirty_is_pending:
            return True
        if outcome is Outcome.EXHAUSTED and not self._guards.exhausted_is_pending:
            return True
        return outcome.is_published

    def flush(self, value: Value, row: Row | None, logged: Mapping[str, Logged], fresh_id: str) -> Flush:
        """``flushing.decide``."""
        guards = self._guards
        if not guards.flush_log:
            logged = {}
        if not guards.base_of_both and row is not None:
            row = msgspec.structs.replace(row, previous_version=value.base)
        if not guards.fresh_id:
            fresh_id = value.ids[-1]
        if row is None:
            return flushing.decide(value, row, logged, BODIES, fresh_id)
        if not guards.own_row_has_its_version and row.write_id == value.ids[-1]:
            return Flush(Result.ALREADY)
        asked = row
        if row.body is None and not guards.tombstone_wins:
            asked = Row(value.base, row.write_id, b"")
        elif (
            (not guards.base_rule and value.base != row.version)
            or (not guards.version_grows and contains(value.ids, row.write_id))
            or (not guards.numbers_count and token_of(row.write_id) in map(token_of, value.ids))
        ):
            asked = msgspec.structs.replace(row, version=value.base)
        flush = flushing.decide(value, asked, logged, BODIES, fresh_id)
        if flush.row is None:
            return flush
        version, result = flush.row.version, flush.result
        if asked.version != row.version and guards.version_grows:
            version, result = max(row.version + 1, version), Result.MERGED  # nobody has seen that version
        if not guards.version_adds_up and flush.result in {Result.APPLIED, Result.PARTLY}:
            version = row.version + 1
        return Flush(result, msgspec.structs.replace(flush.row, version=version), flush.conflict, flush.log)

    def taken_in(self, value: Value, digest: str, identity: bytes, token: str) -> Value:
        """``writing.taken_in``."""
        return self._with_hash(writing.taken_in(value, digest, identity, token))

    def written(
        self, value: Value, body: bytes, identity: bytes, *, issued: str | None, token: str, digest: str
    ) -> Value:
        """``writing.written``."""
        guards, elsewhere = self._guards, value.identity != identity
        if not guards.own_tokens and value.ids:
            issued = value.ids[-1]
            if elsewhere and not value.is_external:
                same = msgspec.structs.replace(value, identity=identity)
                written = writing.written(same, body, identity, issued=issued, token=token, digest=digest)
                return msgspec.structs.replace(written, questionable=True)
        written = writing.written(value, body, identity, issued=issued, token=token, digest=digest)
        if elsewhere and not value.is_external and not guards.other_server_is_questionable:
            written = msgspec.structs.replace(written, questionable=value.questionable)
        return self._with_hash(written)

    def _with_hash(self, value: Value) -> Value:
        if self._guards.restored_bytes_are_known:
            return value
        ids = tuple(EXTERNAL + each[len(RESTORED) :] if each.startswith(RESTORED) else each for each in value.ids)
        return msgspec.structs.replace(value, ids=ids)

    def rewritten(self, value: Value, body: bytes) -> Value:
        """What an external program's value is that kept our header, whichever it had read."""
        if value.kind is Kind.UNSTAMPED:
            return msgspec.structs.replace(value, body=body)
        if body == value.body and not value.is_external and not self._guards.rewriting_shows:
            return value
        return msgspec.structs.replace(value, body=body, kind=Kind.TAMPERED)

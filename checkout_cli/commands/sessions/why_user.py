"""``sessions why --user``: a user's sessions, those that have ended last."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from checkout_cli.commands.sessions.sessions import MOST_LOOKED_AT
from checkout_cli.commands.sessions.trace import look_everywhere
from checkout_cli.commands.sessions.undo_file import undo_files, undos_in
from checkout_cli.commands.sessions.why import explain, explain_trace
from checkout_cli.commands.sessions.why_answer import Answer, UserAnswer
from checkout_cli.domain.users import User, Users
from checkout_cli.errors import AccessDenied, DatabaseUnavailable, RedisUnavailable, SessionCorrupt
from checkout_cli.files.last_look import LastLook
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.session import decode
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import ended

MOST_OF_A_USER = 20
"""Sessions of one user that are explained."""
_PAGE = 500


def explain_either(
    store: CheckoutStore, given: str, run: BoundedRun | None = None, *, last_look: LastLook | None = None
) -> Answer | UserAnswer:
    """Explain a session by its id, or the sessions of a tracked user, or a session by the beginning of its id.

    Raises InvalidInput, TierUnavailable.
    """
    found = look_everywhere(store, given)
    if found.is_anything_known:
        return explain_trace(store, found, last_look, given)
    if _tracked(store, given) is not None:
        return explain_user(store, given, run, last_look=last_look)
    return explain(store, given, last_look=last_look)


def explain_user(
    store: CheckoutStore, user_id: str, run: BoundedRun | None = None, *, last_look: LastLook | None = None
) -> UserAnswer:
    """Explain a user's sessions, by the whole id, those that have ended too; raises TierUnavailable."""
    run = run or BoundedRun(store.clock)
    living = [
        seen.session.checkout_id
        for seen in run.each(store.admin.pages(), most=MOST_LOOKED_AT)
        if seen.session is not None and seen.session.user_id == user_id
    ]
    complete = True
    gone: list[str] = []
    try:
        for page in (_expired(store, user_id), _deleted(store, user_id)):
            gone += run.each(page, most=run.looked_at + MOST_LOOKED_AT)
    except DatabaseUnavailable:
        complete = False
    ids = list(dict.fromkeys([*living, *gone]))
    traces = (look_everywhere(store, checkout_id) for checkout_id in ids[:MOST_OF_A_USER])
    answers = tuple(explain_trace(store, found, last_look) for found in traces)
    complete = complete and run.finished and len(ids) <= MOST_OF_A_USER
    return UserAnswer(user_id, store.clock.wall(), _tracked(store, user_id), answers, complete)


Page = tuple[list[str], int]
"""The user's ids among some sessions, and how many these are."""


def _expired(store: CheckoutStore, user_id: str) -> Iterator[Page]:
    """From the rows of expired sessions, and of those that external writers deleted."""
    for page in ended(store.database, store.clock.wall()):
        yield [record.checkout_id for record in page if _user_in(record.body) == user_id], len(page)


def _deleted(store: CheckoutStore, user_id: str) -> Iterator[Page]:
    """From the undo files of deletions here: their tombstones do not tell whose they were."""
    for header, path in undo_files():
        if header.database != store.settings.database_place:
            continue
        undos = undos_in(path)
        while page := list(itertools.islice(undos, _PAGE)):
            names = [undo.checkout_id for undo in page if _user_of(undo.fields) == user_id]
            known = store.database.present(names)
            yield [name for name in names if name in known], len(page)


def _user_of(fields: Mapping[str, Any] | None) -> str | None:
    user = None if fields is None else fields.get("userId")
    return None if user is None else str(user)


def _user_in(body: bytes | None) -> str | None:
    try:
        return None if body is None else _user_of(decode(body))
    except SessionCorrupt:
        return None


def _tracked(store: CheckoutStore, user_id: str) -> User | None:
    try:
        return Users(store).get(user_id)
    except (RedisUnavailable, AccessDenied):
        return None

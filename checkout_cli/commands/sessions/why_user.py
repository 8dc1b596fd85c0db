"""``sessions why --user``: a user's sessions, those that have ended last."""

from __future__ import annotations

from collections.abc import Iterator

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

Ids = list[str]


def explain_either(
    store: CheckoutStore, given: str, run: BoundedRun | None = None, *, last_look: LastLook | None = None
) -> Answer | UserAnswer:
    """Explain a session by its id, or the sessions of a tracked user, or a session by the beginning of its id.

    Raises InvalidInput, TierUnavailable.
    """
    found = look_everywhere(store, given)
    if found.is_anything_known:
        return explain_trace(store, found, last_look)
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
    try:
        pages = ((_ids_of(user_id, page), number) for page, number in _ended(store))
        gone = list(run.each(pages, most=run.looked_at + MOST_LOOKED_AT))
    except DatabaseUnavailable:
        gone, complete = [], False
    ids = list(dict.fromkeys([*living, *gone]))
    traces = (look_everywhere(store, checkout_id) for checkout_id in ids[:MOST_OF_A_USER])
    answers = tuple(explain_trace(store, found, last_look) for found in traces)
    complete = complete and run.finished and len(ids) <= MOST_OF_A_USER
    return UserAnswer(user_id, store.clock.wall(), _tracked(store, user_id), answers, complete)


Content = tuple[str, object]
"""An id, and the userId of its content."""


def _ids_of(user_id: str, contents: list[Content]) -> Ids:
    return [checkout_id for checkout_id, user in contents if user is not None and str(user) == user_id]


def _ended(store: CheckoutStore) -> Iterator[tuple[list[Content], int]]:
    """In pages with their sizes: expired rows and what external writers deleted, then what undo files have."""
    for page in ended(store.database, store.clock.wall()):
        yield [(record.checkout_id, _user_in(record.body)) for record in page], len(page)
    for header, path in undo_files():
        contents: list[Content] = []
        for undo in undos_in(path):
            contents.append((undo.checkout_id, (undo.fields or {}).get("userId")))
            if len(contents) == _PAGE:
                yield contents, len(contents)
                contents = []
        if contents and header.sessions:
            yield contents, len(contents)


def _user_in(body: bytes | None) -> object:
    try:
        return None if body is None else decode(body).get("userId")
    except SessionCorrupt:
        return None


def _tracked(store: CheckoutStore, user_id: str) -> User | None:
    try:
        return Users(store).get(user_id)
    except (RedisUnavailable, AccessDenied):
        return None

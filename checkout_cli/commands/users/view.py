"""Users in a list and one by one. Ids are shortened unless revealed, in every format."""

from __future__ import annotations

from typing import Any

from checkout_cli.commands.users.users import FoundUser
from checkout_cli.domain.users import User
from checkout_cli.jobs.key_scan import KeyScan
from checkout_cli.session import iso, milliseconds_of
from checkout_cli.terminal.document import document as document_of
from checkout_cli.terminal.listing import Listing, going_on
from checkout_cli.terminal.masking import MASKED, value_shown
from checkout_cli.terminal.output import columns_of, warn, write_json, write_table
from checkout_cli.units import span

_LIST = columns_of(
    "user", "#started", "#completed", "#failed", "last status", "#last seen", "#first seen", "#expires in", "?note"
)
_FACTS = columns_of("field", "value")
_CSV = ("userId", "checkoutsStarted", "checkoutsCompleted", "checkoutsFailed", "lastStatus", "firstSeen", "lastSeen",
        "expiresAt", "expiresInSeconds", "problem", "detail")  # fmt: skip


def id_shown(user: User, *, reveal: bool) -> str:
    return str(value_shown("userId", {"userId": user.user_id}, reveal=reveal))


def document(user: User, now: int, *, reveal: bool = False) -> dict[str, Any]:
    """A user as JSON; ``now`` is in milliseconds."""
    left = user.expires_in
    return {
        "userId": id_shown(user, reveal=reveal),
        **document_of(user, "checkoutsStarted checkoutsCompleted checkoutsFailed lastStatus firstSeen lastSeen"),
        "expiresAt": None if left is None else iso(now + left),
        "expiresInSeconds": None if left is None else left // 1000,
        **document_of(user, "problem detail?"),
    }


def show_list(found: KeyScan[User], output: str, *, reveal: bool = False) -> None:
    """Users in one of the list formats; the cursor goes to stderr and into the JSON."""
    Listing(
        "users",
        found.found.values(),
        _LIST,
        row=lambda user: _row(user, found.now, reveal),
        document=lambda user: document(user, found.now, reveal=reveal),
        id_of=lambda user: id_shown(user, reveal=reveal),
        is_left_out=lambda user: not reveal and id_shown(user, reveal=False) == MASKED,
        csv=_CSV,
        nothing=f"no users are tracked{'' if found.cursor is None else ' as far as was looked'}",
        more=lambda: {**document_of(found), "revealed": reveal},
        missing=lambda: found.missing,
    ).show(output, lambda _: going_on(found.cursor, f"about {found.looked_at:,}"))
    _warn_if_off(found.enabled)


def _row(user: User, now: int, reveal: bool) -> list[str]:
    counts = (user.checkouts_started, user.checkouts_completed, user.checkouts_failed)
    return [
        id_shown(user, reveal=reveal),
        *("" if count is None else f"{count}" for count in counts),
        "" if user.last_status is None else str(user.last_status),
        _ago(user.last_seen, now),
        _ago(user.first_seen, now),
        _expiry(user),
        "" if user.problem is None else str(user.problem),
    ]


def _ago(moment: str | None, now: int) -> str:
    then = milliseconds_of(moment)
    return "" if then is None else f"{span(now - then)} ago"


def _expiry(user: User) -> str:
    return "never" if user.expires_in is None else span(user.expires_in)


def show_user(found: FoundUser, *, as_json: bool, reveal: bool = False) -> None:
    user = found.user
    row = document(user, found.now, reveal=reveal)
    if as_json:
        write_json({**row, "revealed": reveal})
    else:
        facts = [("USER", row["userId"]), *([("PROBLEM", f"{user.problem}: {user.detail}")] if user.problem else [])]
        for name in _CSV[1:7]:
            ago = f" ({_ago(row[name], found.now)})" if name in {"firstSeen", "lastSeen"} else ""
            facts += [] if row[name] is None else [(name, f"{row[name]}{ago}")]
        write_table(_FACTS, [*facts, ("EXPIRES IN", _expiry(user))])
    _warn_if_off(found.enabled)


def _warn_if_off(enabled: bool) -> None:
    if not enabled:
        warn("users are not tracked by these settings (checkoutctl config show); this is what is still there")

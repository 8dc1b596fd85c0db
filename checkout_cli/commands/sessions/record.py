from checkout_cli.commands.needs import (
    CLAIMS,
    FLUSH,
    HAND_OVER,
    IDENTITY,
    LIST,
    LISTED,
    LOCK,
    LOOK,
    MEMBERS,
    NOTE,
    OURS,
    PUBLISH,
    SCRIPTS,
    SESSIONS,
    SETS,
    TRACKED,
    Entry,
    on,
    plain,
)
from checkout_cli.commands.record import Command, Use
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, PENDING

_TRACE = Entry(
    LOOK | LISTED | (on(PENDING, "smismember") | plain("scan")),
    IDENTITY | on(CLAIMS, "exists"),
)
_CHECK = (
    MEMBERS
    | (on(OURS, "zscan zcard") | on(SETS, "scard"))
    | (on(SESSIONS, "pttl strlen get exists") | plain("scan time"))
)
_SETTLE = on(OURS, "evalsha type zmscore zrem zadd") | on(INDEX, "srem sadd") | SCRIPTS
_FINISH = _SETTLE | on(INDEX_ASIDE, "evalsha type srandmember srem") | on(INDEX_BESIDE, "zrange zremrangebyrank")
INDEX_REPAIR = _CHECK | LOCK | _FINISH | on(SESSIONS, "evalsha pexpire")
_ADOPT = (
    (MEMBERS | LOCK | _FINISH)
    | (on(OURS, "zcard rename") | on(INDEX, "scard") | on(INDEX_ASIDE, "rename exists"))
    | on(SESSIONS, "exists pttl")
)

RECORD = Command(
    "sessions",
    place=30,
    summary="List, look at, create, change, delete and export sessions.",
    example="checkoutctl sessions list",
    uses=(
        Use("list", "reader", Entry(LIST, IDENTITY)),
        Use("show", "reader", Entry(LOOK | plain("scan"), IDENTITY), run="{living}"),
        Use("trace", "reader", _TRACE, run="{living}"),
        Use("why", "reader", Entry(_TRACE.needs | LIST, _TRACE.helps | TRACKED), run="{living}"),
        Use("export", "reader", Entry(LIST | on(SESSIONS, "get mget"), IDENTITY)),
        Use("index check", "reader", Entry(_CHECK, IDENTITY)),
        Use("index repair", "operator", Entry(INDEX_REPAIR, IDENTITY), run="--yes --fix-ttl"),
        Use("index adopt", "operator", Entry(_ADOPT, IDENTITY), run="--dry-run"),
        Use(
            "create",
            "operator",
            Entry(PUBLISH, IDENTITY | NOTE, HAND_OVER),
            run="--file - --id created-01",
            given='{"userId": "user-2"}',
        ),
        Use("update", "operator", Entry(PUBLISH | FLUSH, IDENTITY | NOTE, HAND_OVER), run="{living} --set notes=x"),
        Use(
            "delete",
            "operator",
            Entry(PUBLISH | FLUSH | LOOK | LIST, IDENTITY | NOTE, HAND_OVER),
            run="--status paid --yes",
        ),
        Use("restore", "operator", Entry(PUBLISH, IDENTITY, HAND_OVER), run="{undo}"),
        Use(
            "extend",
            "operator",
            Entry(LOOK | on(SESSIONS, "exists evalsha pexpire set") | on(CLAIMS, "evalsha del") | SCRIPTS, IDENTITY),
            run="{living} --by 5m",
        ),
    ),
    examples={
        "list": "checkoutctl sessions list --status failed --older-than 10m --output csv",
        "show": "checkoutctl sessions show 4645c59d",
        "trace": "checkoutctl sessions trace 4645c59d",
        "why": "checkoutctl sessions why 4645c59d-c428-4017-af90-a43ee2787c34",
        "export": "checkoutctl sessions export --output csv > sessions.csv",
        "create": 'echo \'{"items": [], "totalAmount": 0}\' | checkoutctl sessions create --file -',
        "update": "checkoutctl sessions update 4645c59d-c428-4017-af90-a43ee2787c34 --set contactInfo.name=Ada",
        "delete": "checkoutctl sessions delete --status failed --older-than 2h --dry-run",
        "restore": "checkoutctl sessions restore "
        "~/.local/state/checkoutctl/undo/20261123T061500000Z-1f0c2a7e.undo.ndjson",
        "extend": "checkoutctl sessions extend 4645c59d-c428-4017-af90-a43ee2787c34 --by 30m",
        "index": "checkoutctl sessions index check",
        "index repair": "checkoutctl sessions index repair --fix-ttl --dry-run",
        "index adopt": "checkoutctl sessions index adopt --dry-run",
    },
)

from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "sessions",
    place=20,
    summary="List, look at, create, change, delete and export sessions.",
    example="checkoutctl sessions list",
    uses=(
        Use("list", "reader", "LIST", "IDENTITY"),
        Use("show", "reader", "LOOK scan", "IDENTITY BEGINNING", run="{living}"),
        Use(
            "trace", "reader", "LOOK LISTED pending:smismember scan", "IDENTITY claims:exists BEGINNING", run="{living}"
        ),
        Use("why", "reader", "LIST", "TRACKED users:memory|usage", does=("sessions trace",), run="{living}"),
        Use("export", "reader", "LIST sessions:get", "IDENTITY"),
        Use("index check", "reader", "INDEX_CHECK", "IDENTITY"),
        Use("index repair", "operator", "INDEX_REPAIR", "IDENTITY jobs:getrange,set", run="--yes --fix-ttl"),
        Use(
            "index adopt",
            "operator",
            "MEMBERS LOCK FINISH ours:zcard,rename index:scard aside:rename,exists,scard sessions:exists,pttl",
            "IDENTITY jobs:getrange,set",
            run="--dry-run",
        ),
        Use(
            "create",
            "operator",
            "PUBLISH",
            "IDENTITY NOTE",
            "HAND_OVER",
            run="--file - --id created-01",
            given='{"userId": "user-2"}',
        ),
        Use(
            "update", "operator", "PUBLISH FLUSH", "IDENTITY NOTE BEGINNING", "HAND_OVER", run="{living} --set notes=x"
        ),
        Use(
            "delete",
            "operator",
            "PUBLISH FLUSH LOOK LIST",
            "IDENTITY NOTE BEGINNING",
            "HAND_OVER",
            run="--status paid --yes",
        ),
        Use("restore", "operator", "PUBLISH", "IDENTITY", "HAND_OVER", run="{undo}"),
        Use(
            "extend",
            "operator",
            "LOOK sessions:exists,evalsha,pexpire,set claims:evalsha,del SCRIPTS",
            "IDENTITY BEGINNING",
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

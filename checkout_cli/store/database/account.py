"""What the account of ``DATABASE_URL`` may do in PostgreSQL: a monitoring account that only reads is no broken shop."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, text

from checkout_cli.errors import DatabaseDenied, ReadOnlyAccount
from checkout_cli.store.database.places import place_of, qualified, role_of
from checkout_cli.store.database.schema import metadata

WRITES = ("INSERT", "UPDATE", "DELETE")
_READS_ONLY = text(
    "SELECT count(*) FROM pg_settings WHERE name = 'default_transaction_read_only' AND setting = 'on' "
    "AND source IN ('user', 'database user', 'client')"  # where all accounts are read-only, the shop's is too
)


def insist_on_writes(connection: Connection) -> None:
    """Raise ``ReadOnlyAccount`` for an account that may only read, else ``DatabaseDenied`` for what it lacks."""
    if connection.dialect.name != "postgresql":
        return
    wanted = [(name, privilege) for name in sorted(metadata.tables) for privilege in WRITES]
    tables = {name: func.to_regclass(qualified(connection.engine, name)) for name in metadata.tables}
    answers = connection.execute(select(*(func.has_table_privilege(tables[name], what) for name, what in wanted))).one()
    lacking = [pair for pair, granted in zip(wanted, answers, strict=True) if granted is False]
    place = place_of(connection.engine)
    if len(lacking) == len(wanted) or connection.execute(_READS_ONLY).scalar_one():
        raise ReadOnlyAccount(f"{role_of(connection.engine)} may only read the database {place}")
    if lacking:
        name, what = lacking[0]
        others = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        grant = f"GRANT {', '.join(WRITES)} ON {qualified(connection.engine, name)} TO {role_of(connection.engine)}"
        raise DatabaseDenied(f"the database {place} does not grant {what} on {name}{others}", hint=grant)

"""Fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy

from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.schema import metadata, versions
from tests.support.servers import PostgresServer
from tests.support.stores import ManualClock, make_store, make_tables


@pytest.fixture
def clock() -> ManualClock:
    """Time, for all stores of a test."""
    return ManualClock()


@pytest.fixture
def another(settings: Settings, clock: ManualClock) -> Iterator[Callable[..., CheckoutStore]]:
    """Makes stores on the same servers, each as good as another process."""
    stores: list[CheckoutStore] = []

    def make(changed: Settings | None = None, **options: Any) -> CheckoutStore:
        made = make_store(changed or settings, clock, **options)
        stores.append(made)
        return made

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(another: Callable[..., CheckoutStore]) -> CheckoutStore:
    """A store on Valkey and a database with our tables."""
    first = another()
    make_tables(first.database)
    return first


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database that tests share: creating one takes longer than a test."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def emptied_database(shared_database: str) -> Iterator[str]:
    """That database, with empty tables afterwards, in whatever schema they are."""
    yield shared_database
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(shared_database).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        seen = sqlalchemy.inspect(connection)
        ours = set(metadata.tables) - {versions.name}
        tables = [(place, name) for place in seen.get_schema_names() for name in seen.get_table_names(place)]
        found = [f"{place}.{name}" for place, name in tables if name in ours]
        connection.execute(sqlalchemy.text(f"TRUNCATE {', '.join(found)}"))
    engine.dispose()

"""All that a process of the shop imports sooner or later, for the one that others are forked from."""

from __future__ import annotations

import psycopg  # noqa: F401
import redis.cluster
import redis.sentinel  # noqa: F401
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite  # noqa: F401

import checkout_cli.cli.main
import checkout_cli.commands.bench.shopper
import checkout_cli.store.checkout_store
import checkout_cli.store.redis.tier  # noqa: F401
import tests.faults.crashing
import tests.store.worker  # noqa: F401

"""Checkout sessions in Redis, falling back to a database, then to memory.

The names below are the library; ``checkoutctl`` is the command-line toolkit on top of it. They are imported when first
used, so that ``checkoutctl --help`` needs neither redis nor SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings as Settings
    from checkout_cli.errors import CheckoutError as CheckoutError
    from checkout_cli.session import Acknowledgement as Acknowledgement
    from checkout_cli.session import Durability as Durability
    from checkout_cli.session import PaymentStatus as PaymentStatus
    from checkout_cli.session import Session as Session
    from checkout_cli.session import TierName as TierName
    from checkout_cli.store.checkout_store import CheckoutStore as CheckoutStore

__version__ = "0.1.0"

_HOMES = {
    "CheckoutError": "checkout_cli.errors",
    "Acknowledgement": "checkout_cli.session",
    "Durability": "checkout_cli.session",
    "PaymentStatus": "checkout_cli.session",
    "Session": "checkout_cli.session",
    "TierName": "checkout_cli.session",
    "Settings": "checkout_cli.config.settings",
    "CheckoutStore": "checkout_cli.store.checkout_store",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604  (the names are the table's)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

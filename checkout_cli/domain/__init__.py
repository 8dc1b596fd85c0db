"""What the shop keeps in Redis beside its sessions: delivery charges, coupons, users and statistics."""

from checkout_cli.domain.coupons import Coupons
from checkout_cli.domain.delivery import DeliveryCharges

__all__ = ["Coupons", "DeliveryCharges"]

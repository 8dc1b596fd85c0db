"""What the shop keeps in Redis beside its sessions: delivery charges, coupons, users and statistics."""

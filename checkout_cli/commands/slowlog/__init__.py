"""``checkoutctl slowlog``."""

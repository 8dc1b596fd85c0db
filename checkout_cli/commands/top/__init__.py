"""``checkoutctl top``."""

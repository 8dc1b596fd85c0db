"""``checkoutctl health``."""

"""``checkoutctl sessions``."""

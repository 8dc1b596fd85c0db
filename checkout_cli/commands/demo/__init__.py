"""``checkoutctl demo``."""

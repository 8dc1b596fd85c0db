"""``checkoutctl config``."""

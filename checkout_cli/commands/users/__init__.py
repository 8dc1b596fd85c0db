"""``checkoutctl users``."""

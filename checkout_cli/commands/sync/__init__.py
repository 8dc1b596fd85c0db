"""``checkoutctl sync``."""

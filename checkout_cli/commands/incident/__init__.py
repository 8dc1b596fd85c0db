"""``checkoutctl incident``."""

"""``checkoutctl monitor``."""

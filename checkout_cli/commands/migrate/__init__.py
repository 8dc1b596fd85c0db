"""``checkoutctl migrate``."""

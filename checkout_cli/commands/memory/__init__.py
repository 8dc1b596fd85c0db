"""``checkoutctl memory``."""

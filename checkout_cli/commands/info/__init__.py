"""``checkoutctl info``."""

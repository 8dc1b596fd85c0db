"""``checkoutctl setup``."""
